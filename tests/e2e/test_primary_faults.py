"""Faults R9, R11, R14: a primary that is replaced, and data that does not go through its binary log as it is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome
from airflow_restore_replay.core.repository.quarantine import release_hold
from tests.e2e.conftest import OwnRig, Seeded
from tests.support.flavors import MANY_ROWS, on_both, on_either
from tests.support.primary import Primary
from tests.support.rig import Once, Rig, copy_repository
from tests.support.tamper import by_sql, running, tampered
from tests.support.tcp import TcpGate

NewPrimary = Callable[..., Primary]


def await_equal(source: Primary, replica: Primary) -> None:
    """Wait until *replica* has all that *source* has now."""
    flavor = get_flavor(source.flavor)
    with source.connect() as there, replica.connect() as here:
        goal = flavor.primary_position(there)
        deadline = time.monotonic() + 60
        while not flavor.primary_position(here).contains(goal):
            assert time.monotonic() < deadline, f"the replica did not reach {goal}"
            time.sleep(0.1)


def notes_of(rig: Rig, backup_id: str) -> set[str]:
    """Return what people noted, by a restored copy of the backup."""
    with running(rig.restores(backup_id), rig) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT body FROM shop.notes WHERE body NOT LIKE 'note %'")
        return {str(body) for (body,) in cursor.fetchall()}


@on_both
def test_r9_primary_fails_over_mid_catch_up(new_primary: NewPrimary, own_rig: OwnRig) -> None:
    """The connection points to its replica from then on; nothing is lost, nothing is applied twice."""
    rig = own_rig()
    first, base = rig.primary, rig.newest
    second = new_primary("second", replica_of=first)
    with TcpGate(first.port) as gate:
        rig.overrides["primary"] = {"port": gate.port}
        first.execute(MANY_ROWS, "INSERT INTO shop.notes VALUES ('before')")
        await_equal(first, second)

        def fail_over() -> None:
            first.kill()
            second.promote()
            second.execute("INSERT INTO shop.notes VALUES ('after')")
            gate.redirect(second.port)

        watch = Once("replay.catch_up", "catching up", fail_over)
        made = rig.published(rig.cycle(watch=watch))
    assert watch.done
    assert rig.verdicts_against() == []
    assert rig.catalog().backup(made).manifest.base.backup_id == base
    assert notes_of(rig, made) == {"before", "after"}


@on_both
def test_r9_failover_that_lost_transactions(new_primary: NewPrimary, own_rig: OwnRig) -> None:
    """The node has what the new primary lacks: it is discarded, its base is not to blame and serves the next run."""
    rig = own_rig()
    first, base = rig.primary, rig.newest
    second = new_primary("second", replica_of=first)
    with TcpGate(first.port) as gate:
        rig.overrides["primary"] = {"port": gate.port}
        await_equal(first, second)
        second.promote()
        first.execute("INSERT INTO shop.notes VALUES ('lost')", "INSERT INTO shop.notes VALUES ('lost, too')")

        def fail_over() -> None:
            first.kill()
            second.execute("INSERT INTO shop.notes VALUES ('after')")
            gate.redirect(second.port)

        watch = Once("replay.validate", "", fail_over)
        report = rig.cycle(watch=watch)
        assert watch.done
        assert report.failure is not None
        assert (report.failure.code, report.failure.blame) == ("PrimaryChanged", Blame.ENVIRONMENT)
        assert rig.verdicts_against() == []
        made = rig.published(rig.cycle())
    assert rig.catalog().backup(made).manifest.base.backup_id == base
    assert notes_of(rig, made) == {"after"}


@on_both
def test_r11_r14_drift_is_found_and_found_again_it_is_the_primarys(
    new_primary: NewPrimary, tmp_path: Path
) -> None:
    """Statements that give other rows on the node, then a write that is not logged at all, in the same table."""
    rig = Rig(new_primary(options=["--binlog-format=STATEMENT"]), tmp_path)
    first = rig.full()
    warnings = rig.catalog().backup(first).manifest.notes["warnings"]
    assert "STATEMENT" in warnings["binlog_format"]
    rig.primary.execute("INSERT INTO shop.notes VALUES (UUID())")
    report = rig.cycle()
    second = rig.published(report)
    assert report.quarantined == [first]
    (quarantine,) = rig.verdicts_against()
    assert quarantine.failure is not None
    assert quarantine.failure.code == "DataMismatch"

    rig.primary.execute("SET sql_log_bin=0", "INSERT INTO shop.notes VALUES ('unlogged')")
    report = rig.cycle()
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("SourceDrift", Blame.SOURCE)
    assert "shop.notes" in report.failure.message
    assert first in report.failure.message
    assert "validate.exclude" in report.failure.hint
    assert rig.verdicts_against() == [quarantine]
    assert rig.catalog().backup(second).state is BackupState.HEALTHY


@on_both
def test_d1_a_rotten_page_of_the_primary_holds(own_rig: OwnRig, tmp_path: Path) -> None:
    """Nothing is published until a person releases it, and the last good backup is kept."""
    rig = own_rig(overrides={"validate": {"checks": ["same_data"]}})
    good = rig.newest
    data, whole = rig.primary.datadir, tmp_path / "whole"
    rig.primary._terminate(15)  # type: ignore[arg-type]
    shutil.copytree(data, whole)
    with (data / "shop/orders.ibd").open("r+b") as file:
        file.seek(700 * 16384)
        file.write(b"\xa5" * 16384)
    rig.primary.restart()
    report = rig.cycle()
    assert report.failure is not None
    if rig.primary.flavor == "mysql":
        # It dies of reading such a page, which might be chance, once.
        assert report.failure.blame is Blame.ENVIRONMENT
        assert rig.catalog().held_by == []
        rig.primary.restart()
        report = rig.cycle()
        assert report.failure is not None
        assert "shop.orders" in report.failure.message
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("SourceCorrupt", Blame.SOURCE)
    (hold,) = rig.catalog().held_by
    assert rig.verdicts_against() == []
    rig.primary._terminate(15)  # type: ignore[arg-type]
    shutil.rmtree(data)
    shutil.copytree(whole, data)
    rig.primary.restart()
    for full in (False, True):
        report = rig.cycle(force_full=full)
        assert report.failure is not None
        assert (report.failure.code, report.published_id) == ("Held", "")
    release_hold(rig.repository(), hold.verdict_id, by="somebody", reason="restored the table")
    made = rig.published(rig.cycle())
    assert rig.catalog().backup(made).manifest.base.backup_id == good


@on_either
def test_without_a_fallback_a_bad_base_ends_the_run(rig: Rig, backup_id: str) -> None:
    rig.flip_byte(rig.chunk_of(backup_id, "shop/orders.ibd"))
    report = rig.cycle(fallback="none", retries=0)
    assert report.failure is not None
    assert report.failure.blame is Blame.BACKUP
    assert (report.quarantined, report.published_id) == ([backup_id], "")


@on_either
def test_the_next_healthy_base_comes_before_a_fresh_full(rig: Rig, backup_id: str) -> None:
    second = rig.published(rig.cycle())
    bad = tampered(rig, second, by_sql("DELETE FROM shop.orders WHERE id = 11"))
    report = rig.cycle(fallback="older_base")
    made = rig.catalog().backup(rig.published(report)).manifest
    assert (report.quarantined, made.base.backup_id) == ([bad], second)
    assert "older.validate" in report.steps


@on_either
def test_where_the_next_base_is_bad_too_a_fresh_full_comes(rig: Rig, backup_id: str) -> None:
    bad = tampered(rig, backup_id, by_sql("DELETE FROM shop.orders WHERE id = 12"))
    worse = tampered(rig, backup_id, by_sql("DELETE FROM shop.orders WHERE id = 13"))
    report = rig.cycle(fallback="older_base")
    assert rig.catalog().backup(rig.published(report)).manifest.base.kind == "seed"
    assert report.quarantined == [worse, bad]


@on_either
def test_a_forced_full_passes_over_every_older_base(rig: Rig, backup_id: str) -> None:
    forced = rig.cycle(fallback="older_base", force_full=True)
    assert rig.catalog().backup(rig.published(forced)).manifest.base.kind == "seed"
    assert rig.verdicts_against() == []


@on_both
def test_r14_a_primary_with_binlog_filters_is_refused(
    new_primary: NewPrimary, seeded: Seeded, tmp_path: Path
) -> None:
    rig = Rig(new_primary(options=["--binlog-ignore-db=scratch"]), tmp_path)
    copy_repository(seeded.rig, rig)
    report = rig.cycle(retries=0)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("SourceFiltered", Blame.SOURCE)
    assert "binlog_ignore_db=scratch" in report.failure.message
    assert [b.backup_id for b in rig.catalog().backups] == [seeded.backup_id]
    assert rig.verdicts_against() == []


def test_r14_a_table_that_is_always_written_unlogged(new_primary: NewPrimary, tmp_path: Path) -> None:
    """A heartbeat: the fresh full differs, too, in the same run, and the base's quarantine is taken back."""
    rig = Rig(new_primary(), tmp_path)
    rig.primary.execute(
        "CREATE TABLE shop.beat (id INT PRIMARY KEY, n INT)", "INSERT INTO shop.beat VALUES (1, 0)"
    )
    base = rig.full()
    with rig.primary.connect() as conn, conn.cursor() as cursor:
        cursor.execute("SET sql_log_bin=0")

        def beat(step: str, state: object) -> None:
            cursor.execute("UPDATE shop.beat SET n = n + 1")

        report = rig.cycle(watch=beat)
    assert report.failure is not None
    assert report.failure.blame is Blame.SOURCE
    assert "shop.beat" in report.failure.message
    assert rig.catalog().backup(base).state is BackupState.HEALTHY
    assert [v.outcome for v in rig.catalog().verdicts][-3:] == [
        Outcome.QUARANTINED,
        Outcome.FAILED,
        Outcome.WITHDRAWN,
    ]
