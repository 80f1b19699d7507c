"""Pruning of the archive: what the window needs stays, and nothing is deleted on the word of a record alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.merging import merged
from airflow_restore_replay.core.archive.retention import LogRetention
from airflow_restore_replay.core.archive.verifying import verify_archive
from airflow_restore_replay.core.config.archiving import Archiving
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.repository.format.records import (
    Condemned,
    LogGap,
    LogPiece,
    Manifest,
    PruneRecord,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.objects.record_store import record_path, write_record
from airflow_restore_replay.core.repository.pruning.logs import ReadRules
from airflow_restore_replay.core.repository.pruning.plan import plan_prune
from airflow_restore_replay.core.repository.pruning.prune import PruneReport, prune
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectStore
from tests.contract.archive.conftest import Shelf
from tests.contract.archive.test_pieces import content, the_log
from tests.contract.conftest import Place
from tests.contract.test_prune import GRACE_S, later, policy
from tests.support.archives import RUN, Archivist, piece_of
from tests.support.backups import back_up


def rules(shelf: Shelf, keep_s: float | None = None) -> ReadRules:
    archiving = Archiving(keep=Seconds(keep_s) if keep_s else None)

    def read(repository: Repository, now: datetime, limit: datetime) -> LogRetention:
        listed = [*repository.store.list("logpieces/"), *repository.store.list("loggaps/")]
        return LogRetention(
            Archive.read(repository, everything=True), listed, archiving, shelf.flavor, now, limit
        )

    return read


def objects(store: ObjectStore) -> set[str]:
    folders = ("logdata/", "logpieces/", "loggaps/", "manifests/", "chunks/", "bundles/", "files/")
    return {info.path for folder in folders for info in store.list(folder)}


def run_prune(
    repository: Repository,
    logs: ReadRules,
    *,
    now: Callable[[], datetime] = later,
    **retention: Any,
) -> PruneReport:
    epoch = repository.lease.acquire("pruner", ttl_s=600)
    try:
        return prune(repository, policy(**retention), run="pruner", epoch=epoch, now=now, logs=logs)
    finally:
        repository.lease.release("pruner", epoch)


def backup_at(repository: Repository, shelf: Shelf, tree: Path, position: object, age_s: float) -> Manifest:
    """Publish a backup of that position, read so long before now."""
    source, _ = back_up(repository, tree, run=f"run-{new_id()}")
    repository.store.delete(record_path(Manifest, source.backup_id))
    at = utc_now() - timedelta(seconds=age_s)
    copy = msgspec.structs.replace(
        source,
        backup_id=new_id(at),
        created_at=at,
        goal_read_at=at,
        flavor=shelf.flavor.name,
        position=str(position),
        chains=[],
    )
    write_record(repository.store, copy, repository.sealer)
    return copy


def archived(place: Place, shelf: Shelf, *keys: str, current_at: datetime | None = None) -> Archivist:
    """Archive all files, each in pieces; the last one says that it is current."""
    archivist = Archivist(place.open(*keys), shelf.flavor)
    for log in shelf.logs:
        archivist.add(log, range(len(log.groups)), closed=log is not shelf.logs[-1])
    idle(archivist, shelf, current_at or utc_now())
    return archivist


def idle(archivist: Archivist, shelf: Shelf, current_at: datetime) -> LogPiece:
    last = shelf.logs[-1]
    end, after = len(last.data), str(last.after)
    piece = piece_of(
        "orders",
        shelf.flavor.name,
        end,
        end,
        number=3,
        before=after,
        after=after,
        current_at=current_at,
    )
    archivist.store.write(piece)
    return piece


def merge(archivist: Archivist, number: int) -> LogPiece:
    log = the_log(Archive.read(archivist.repository), number)
    piece = merged(archivist.store, log, run=RUN, lease_epoch=1)
    archivist.store.write(piece)
    return piece


def test_merged_pieces_go_after_the_grace_period_and_their_parts_after_another(
    place: Place, shelf: Shelf
) -> None:
    archivist = archived(place, shelf)
    repository = archivist.repository
    loose = the_log(Archive.read(repository)).pieces
    whole = merge(archivist, 1)
    before = objects(repository.store)
    young = run_prune(repository, rules(shelf), now=utc_now)
    assert (young.deleted_logs, young.unconfirmed_logs) == ({}, {})
    assert before <= objects(repository.store)

    report = run_prune(repository, rules(shelf))
    assert report.deleted_logs == {"superseded": len(loose)}
    records, _ = repository.records(PruneRecord)
    assert sorted(r for record in records for r in record.logs) == sorted(
        record_path(LogPiece, piece.piece_id) for piece in loose
    )
    parts = {f"logdata/{part.object}.zst" for piece in loose for part in piece.parts}
    assert parts <= objects(repository.store)
    assert [set(record.objects) for record in repository.records(Condemned)[0]] == [parts]

    swept = run_prune(repository, rules(shelf))
    assert swept.freed_objects == len(parts)
    assert not parts & objects(repository.store)
    archive = Archive.read(repository)
    assert the_log(archive).pieces == (whole,)
    assert content(archive, the_log(archive)) == shelf.logs[0].data
    assert verify_archive(archive, shelf.flavor).ok


def test_without_its_rules_pruning_leaves_the_archive_as_it_is(place: Place, shelf: Shelf) -> None:
    archivist = archived(place, shelf)
    merge(archivist, 1)
    archivist.store.put(b"of no piece")
    before = objects(archivist.repository.store)
    epoch = archivist.repository.lease.acquire("pruner", ttl_s=600)
    prune(archivist.repository, policy(), run="pruner", epoch=epoch, now=later)
    assert before <= objects(archivist.repository.store)


def test_parts_that_no_record_names_go_and_other_objects_stay(place: Place, shelf: Shelf) -> None:
    archivist = archived(place, shelf)
    part = archivist.store.put(b"the archiver died before it wrote the record")
    store = archivist.repository.store
    store.put_new("logdata/notes.txt", b"of a person")
    for _ in range(2):
        run_prune(archivist.repository, rules(shelf))
    left = objects(store)
    assert f"logdata/{part.object}.zst" not in left
    assert "logdata/notes.txt" in left
    assert verify_archive(Archive.read(archivist.repository), shelf.flavor).ok


@pytest.mark.parametrize("fault", ["missing", "corrupt", "other bytes", "other position"])
def test_a22_a_piece_goes_only_if_the_longer_one_reads_back_the_same(
    place: Place, shelf: Shelf, fault: str
) -> None:
    archivist = archived(place, shelf)
    made = shelf.logs[0]
    if fault in ("missing", "corrupt"):
        whole = merge(archivist, 1)
        path = f"logdata/{whole.parts[0].object}.zst"
        place.damage.remove(path) if fault == "missing" else place.damage.write(path, b"x" * 100)
    else:
        archivist.number = 1
        data = made.data[:-1] + b"?" if fault == "other bytes" else made.data
        forged = archivist.piece(made, 0, len(made.data), closed=True)
        part = archivist.store.put(data)
        fields: dict[str, Any] = {"parts": [part]}
        if fault == "other position":
            fields["after"] = str(shelf.logs[2].after)
        archivist.store.write(msgspec.structs.replace(forged, **fields))
    loose = {record_path(LogPiece, p.piece_id) for p in Archive.read(archivist.repository).pieces}
    report = run_prune(archivist.repository, rules(shelf))
    assert "kept although they were merged" in report.complaint
    assert report.unconfirmed_logs
    gone = loose - objects(archivist.repository.store)
    assert not gone & report.unconfirmed_logs.keys()
    run_prune(archivist.repository, rules(shelf))
    if fault in ("missing", "corrupt"):
        archive = Archive.read(archivist.repository)
        assert content(archive, the_log(archive)) == made.data


def test_only_the_newest_of_the_records_that_nothing_was_new_stays(place: Place, shelf: Shelf) -> None:
    archivist = archived(place, shelf)
    newest = idle(archivist, shelf, utc_now())
    report = run_prune(archivist.repository, rules(shelf))
    assert report.deleted_logs == {"idle": 1}
    left = [p for p in Archive.read(archivist.repository).pieces if p.begin == p.end]
    assert left == [newest]


def test_the_window_keeps_its_base_and_says_so(place: Place, shelf: Shelf, tree: Path) -> None:
    # By the store's clock all is of now, so the window begins in a moment that the test calls past.
    archivist = archived(place, shelf, current_at=utc_now() + timedelta(seconds=230))
    repository = archivist.repository
    first, second, third = (log.before for log in shelf.logs)
    oldest = backup_at(repository, shelf, tree, first, 3 * GRACE_S)
    base = backup_at(repository, shelf, tree, second, 2 * GRACE_S)
    newest = backup_at(repository, shelf, tree, third, -GRACE_S)
    window = Archive.read(repository).window(repository.catalog(), shelf.flavor)
    plan = plan_prune(repository, policy(), timezone="UTC", now=later(), logs=rules(shelf, keep_s=150))
    reasons = plan.keep[base.backup_id]
    assert any("the window of 2m30s needs it" in reason for reason in reasons)
    assert [doomed.backup_id for doomed in plan.delete] == [oldest.backup_id]
    assert newest.backup_id in plan.keep
    # Without the window, the base goes as well.
    without = plan_prune(repository, policy(), timezone="UTC", now=later(), logs=rules(shelf))
    assert {doomed.backup_id for doomed in without.delete} == {oldest.backup_id, base.backup_id}

    report = run_prune(repository, rules(shelf, keep_s=150))
    assert report.deleted == [oldest.backup_id]
    assert report.deleted_logs == {"before the window": len(the_log_pieces(shelf, 0))}
    archive = Archive.read(repository)
    assert [log.number for log in archive.streams[0].logs] == [2, 3]
    after = archive.window(repository.catalog(), shelf.flavor)
    assert after.begin == base.goal_read_at
    assert after.end == window.end
    assert str(archive.reach(second, shelf.flavor).position) == str(shelf.logs[-1].after)


def the_log_pieces(shelf: Shelf, index: int) -> list[int]:
    log = shelf.logs[index]
    return sorted({group.end for group in log.groups} | {len(log.data)})


def test_gaps_go_when_all_backups_are_past_them(place: Place, shelf: Shelf, tree: Path) -> None:
    archivist = archived(place, shelf, current_at=utc_now() + timedelta(seconds=230))
    repository, at = archivist.repository, utc_now()
    gap = LogGap(
        gap_id=new_id(at),
        at=at,
        cluster="orders",
        run=RUN,
        lease_epoch=1,
        stream=archivist.stream,
        number=1,
        before="",
        after=str(shelf.logs[0].before),
        lacking="all that was before",
        reason="the archive began later",
    )
    archivist.store.write(gap)
    archive = Archive.read(repository)
    assert archive.gaps_after(repository.catalog(), shelf.flavor) == (gap,)
    backup_at(repository, shelf, tree, shelf.logs[1].before, 2 * GRACE_S)
    assert archive.gaps_after(repository.catalog(), shelf.flavor) == ()
    run_prune(repository, rules(shelf, keep_s=150))
    assert Archive.read(repository).noted_gaps == ()


def test_a23_an_unreadable_record_withholds_all(place: Place, shelf: Shelf, tree: Path) -> None:
    archivist = archived(place, shelf, current_at=utc_now() + timedelta(seconds=230))
    repository = archivist.repository
    for age_s in (4, 3, 2):
        backup_at(repository, shelf, tree, shelf.logs[1].before, age_s * GRACE_S)
    merge(archivist, 1)
    piece = the_log(Archive.read(repository), 2).pieces[0]
    path = record_path(LogPiece, piece.piece_id)
    place.damage.write(path, b"{}")
    before = objects(repository.store)
    report = run_prune(repository, rules(shelf, keep_s=150))
    assert path in report.withheld
    assert before <= objects(repository.store)
    assert report.deleted == []
