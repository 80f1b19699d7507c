"""What pruning leaves of random archives restores every moment of the window that could be restored before."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import streams_of
from airflow_restore_replay.core.archive.pieces import PieceStore
from airflow_restore_replay.core.archive.retention import LogRetention
from airflow_restore_replay.core.archive.window import span_of, window_of
from airflow_restore_replay.core.config.archiving import Archiving
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.repository.catalog import Backup
from airflow_restore_replay.core.repository.format.records import BaseRef, LogPiece, Manifest, Sizes, new_id
from airflow_restore_replay.core.repository.objects.record_store import record_path
from airflow_restore_replay.core.repository.store.base import ObjectInfo
from tests.unit.archive.test_reach import START, Story, stories

HALF_MINUTE = timedelta(seconds=30)


def archive_of(pieces: list[LogPiece]) -> Archive:
    return Archive(cast(PieceStore, None), tuple(pieces), streams_of(pieces))


def backup_of(story: Story, count: int) -> Backup:
    """Return a backup of the first *count* transactions, read half a minute after the last of them."""
    at = story.made[count - 1].at + HALF_MINUTE if count else START - HALF_MINUTE
    amounts: dict[str, Any] = dict.fromkeys(
        ("total_bytes", "new_bytes", "reused_bytes", "zero_bytes", "stored_bytes", "files", "new_chunks"), 0
    )
    position = str(story.position(set(range(count))))
    manifest = Manifest(
        backup_id=new_id(at),
        cluster="orders",
        flavor=story.flavor.name,
        server_release="1",
        created_at=at,
        run="r",
        lease_epoch=1,
        base=BaseRef(kind="seed"),
        position=position,
        goal=position,
        goal_read_at=at,
        chunk_size_bytes=1,
        file_list="",
        sizes=Sizes(**amounts),
    )
    return Backup(manifest)


def written(piece: LogPiece, story: Story) -> ObjectInfo:
    end = int(piece.log.split()[2])
    at = story.made[end - 1].at if end else START
    return ObjectInfo(record_path(LogPiece, piece.piece_id), 1, at)


def restorable(archive: Archive, backups: list[Backup], story: Story, moment: datetime) -> bool:
    routes = archive.routes(story.flavor)
    leading = [b for b in backups if (span := span_of(b, routes)).end > span.begin]
    return window_of(leading, routes, None).has(moment)


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
@given(data=st.data())
def test_the_window_stays_restorable(flavor: str, data: st.DataObject) -> None:
    story, _ = data.draw(stories(flavor))
    count, noise = len(story.made), random.Random(data.draw(st.integers(0, 2**32)))
    backups = [
        backup_of(story, n) for n in sorted(noise.sample(range(count + 1), noise.randrange(1, count + 2)))
    ]
    begin = START + timedelta(minutes=noise.randrange(-1, count + 1))
    now = START + timedelta(minutes=count + 1)
    archive = archive_of(story.pieces)
    infos = [written(piece, story) for piece in story.pieces]
    policy = Archiving(keep=Seconds((now - begin).total_seconds()))
    rules = LogRetention(archive, infos, policy, story.flavor, now, now)
    needed = rules.needed(backups[::-1])
    kept = [backup for backup in backups if backup.backup_id in needed]
    plan = rules.plan(backup.manifest for backup in kept)
    gone = {doomed.info.path for doomed in plan.delete}
    left = archive_of([p for p in story.pieces if record_path(LogPiece, p.piece_id) not in gone])
    assert plan.live >= {f"logdata/{part.object}.zst" for piece in left.pieces for part in piece.parts}
    moments = [begin, *(made.at + HALF_MINUTE for made in story.made)]
    for moment in moments:
        if moment >= begin and restorable(archive, backups, story, moment):
            assert restorable(left, kept, story, moment), moment
    # Nothing that was stored since the window begins is deleted, unless a longer piece has the same.
    for info in infos:
        if info.path in gone and info.modified >= begin:
            assert next(d.why for d in plan.delete if d.info.path == info.path) == "superseded"


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
@given(data=st.data())
def test_the_window_needs_no_backup_that_another_makes_good(flavor: str, data: st.DataObject) -> None:
    story, _ = data.draw(stories(flavor))
    backups = [backup_of(story, n) for n in range(len(story.made) + 1)]
    now = START + timedelta(minutes=len(story.made) + 1)
    archive = archive_of(story.pieces)
    rules = LogRetention(archive, [], Archiving(keep=Seconds("30d")), story.flavor, now, now)
    needed = [backup for backup in backups if backup.backup_id in rules.needed(backups[::-1])]
    moments = [made.at + part * HALF_MINUTE / 2 for made in story.made for part in (-1, 1, 3)]
    every = [moment for moment in moments if restorable(archive, backups, story, moment)]
    assert all(restorable(archive, needed, story, moment) for moment in every)
    for one in needed:
        fewer = [backup for backup in needed if backup is not one]
        assert not all(restorable(archive, fewer, story, moment) for moment in every) or not every
