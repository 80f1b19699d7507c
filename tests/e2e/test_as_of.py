"""Backups as of a past time: to the event, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Proof
from tests.e2e.conftest import OwnRig
from tests.support.flavors import on_both
from tests.support.primary import Primary, Witness
from tests.support.rig import Rig
from tests.support.tamper import running, witnessed

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def next_second(*, after_s: float = 1.0) -> datetime:
    """Return a whole second that is at least so far away."""
    return (datetime.now(UTC) + timedelta(seconds=after_s + 1)).replace(microsecond=0)


def wait_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


@on_both
def test_three_intervals_each_to_the_event(rig: Rig, backup_id: str) -> None:
    """In any order; from the newest base before each; and the next usual cycle continues from the newest data."""
    primary = rig.primary
    witness, other = Witness(primary, name="three"), Witness(primary, name="other", domain=7)
    first = next_second()
    ends = [first + timedelta(seconds=2 * n) for n in range(3)]
    for end in ends:
        witness.write_until(end - timedelta(seconds=1))
        other.write_until(end - timedelta(milliseconds=500))
        witness.write_until(end + timedelta(milliseconds=400))
        primary.execute("FLUSH BINARY LOGS")
    witness.write_until(ends[-1] + timedelta(seconds=1))
    bases = {}
    for index in (1, 0, 2):
        report = rig.cycle(as_of=ends[index])
        made = rig.catalog().backup(rig.published(report))
        bases[index] = made.backup_id
        assert witnessed(rig, made.backup_id, witness) == witness.before(ends[index])
        with running(rig.root / f"restored-{made.backup_id}", rig) as conn, conn.cursor() as cursor:
            cursor.execute(f"SELECT MAX(id) FROM {other.table}")
            assert cursor.fetchall() == ((other.before(ends[index]),),)
        manifest = made.manifest
        assert manifest.as_of == manifest.goal_read_at == ends[index]
        assert manifest.position == manifest.goal
        assert manifest.compared["omitted"].startswith(f"as of {ends[index]:%Y-%m-%dT%H:%M:%SZ}")
        assert made.proof is Proof.READ_BACK
        assert manifest.base.backup_id == (bases[1] if index == 2 else backup_id)
    assert rig.catalog().backup(backup_id).proof is Proof.RESTORED

    again = rig.cycle(as_of=ends[1])
    assert (again.ok, again.published_id, again.steps) == (True, bases[1], {})
    assert "already there" in again.reason
    assert len(rig.catalog().manifests) == 4

    newest = rig.published(rig.cycle())
    usual = rig.catalog().backup(newest).manifest
    assert usual.base.backup_id == bases[2]
    assert usual.as_of is None
    assert usual.compared["tables"] > 3
    assert rig.verdicts_against() == []


def test_before_the_first_backup_there_is_nothing_to_rebuild_from(rig: Rig, backup_id: str) -> None:
    first = rig.catalog().backup(backup_id).manifest
    report = rig.cycle(as_of=first.goal_read_at - timedelta(minutes=1))
    assert report.failure is not None
    assert report.failure.code == "NoSuchBackup"
    assert f"oldest healthy backup, {backup_id}, is from {first.goal_read_at:%Y-%m-%dT%H:%M:%SZ}" in (
        report.failure.message
    )
    assert report.steps == {}
    future = rig.cycle(as_of=datetime.now(UTC) + timedelta(minutes=1))
    assert future.failure is not None
    assert "not past yet" in future.failure.message
    assert [v.outcome for v in rig.catalog().verdicts] == [Outcome.PUBLISHED]
    assert len(rig.catalog().manifests) == 1


def test_damaged_base_fails_the_run_and_is_quarantined(rig: Rig, backup_id: str) -> None:
    """Today's data, in a fresh full, could not take its place."""
    rig.flip_byte(rig.chunk_of(backup_id, "shop/orders.ibd"))
    report = rig.cycle(as_of=datetime.now(UTC))
    assert report.failure is not None
    assert report.failure.code == "ChunkCorrupt"
    assert report.diagnosis.startswith("fail")
    catalog = rig.catalog()
    assert [b.backup_id for b in catalog.backups] == [backup_id]
    assert catalog.backup(backup_id).state is BackupState.QUARANTINED


@on_both
def test_purged_binary_logs_are_named(own_rig: OwnRig) -> None:
    """Nothing is published, and the base is stranded: no other run can continue it either."""
    rig = own_rig()
    primary, base = rig.primary, rig.newest
    witness = Witness(primary)
    witness.write_until(next_second())
    primary.execute("FLUSH BINARY LOGS")
    newest = primary.execute("SHOW BINARY LOGS")[-1][0]
    primary.purge_logs()
    report = rig.cycle(as_of=datetime.now(UTC))
    assert report.failure is not None
    assert report.failure.code == "BinlogPurged"
    assert newest in report.failure.message
    (verdict,) = rig.verdicts_against()
    assert (verdict.outcome, verdict.backup_id) == (Outcome.STRANDED, base)
    assert len(rig.catalog().manifests) == 1


@pytest.mark.skipif(not FAKETIME.exists(), reason="needs libfaketime")
def test_primary_whose_clock_is_not_ours(
    new_primary: Callable[..., Primary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock stamps the events, ours tells ages: what it stamped 03:00:07 being 7 s ahead is of 03:00:00."""

    def with_clock(offset: str) -> None:
        with monkeypatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(FAKETIME))
            patch.setenv("FAKETIME", offset)
            patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            primary.restart()

    primary = new_primary(options=["--default-time-zone=-03:30"])
    rig = Rig(primary, tmp_path)
    with_clock("+7s")
    witness = Witness(primary)
    rig.full()
    as_of = next_second(after_s=9)
    witness.write_until(as_of + timedelta(seconds=1))
    wait_until(as_of)
    report = rig.cycle(as_of=as_of)
    backup = rig.catalog().backup(rig.published(report))
    assert witnessed(rig, backup.backup_id, witness) == witness.before(as_of)
    assert backup.manifest.as_of == as_of
    assert backup.manifest.goal_read_at == as_of - timedelta(seconds=7)
    assert backup.manifest.notes["as_of"]["clock_ahead_s"] == 7

    with_clock("-1h")
    report = rig.cycle(as_of=datetime.now(UTC))
    assert report.failure is not None
    assert "not past yet by the primary's clock" in report.failure.message
    assert rig.verdicts_against() == []
