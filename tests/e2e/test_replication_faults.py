"""Faults R1–R13: what stands between a restored backup and the primary."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_restore_replay.core.cycle.report import CycleReport
from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.flavor.mysql.identity import NODE_UUID_PREFIX
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import NODE_SERVER_IDS, Conn
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus
from airflow_restore_replay.core.repository.format.records import BackupState, Proof
from tests.e2e.conftest import OwnRig
from tests.support import memory_tables
from tests.support.flavors import MANY_ROWS, on_both, on_either
from tests.support.primary import Primary, WriteLoad, free_port
from tests.support.rig import Once, Rig, later
from tests.support.tamper import by_sql, tampered
from tests.support.tcp import TcpGate

NewPrimary = Callable[..., Primary]


def assert_stranded(rig: Rig, backup_id: str, report: CycleReport, code: str) -> None:
    """Stranded and protected: no base any more, still restorable, a fallback in its place, not quarantined."""
    new_id = rig.published(report)
    assert report.quarantined == []
    backup = rig.catalog().backup(backup_id)
    assert backup.state is BackupState.STRANDED
    assert backup.against[0].failure is not None
    assert backup.against[0].failure.code == code
    assert rig.catalog().backup(new_id).manifest.base.kind == "seed"
    rig.restores(backup_id)


def assert_environment(rig: Rig, report: CycleReport, code: str) -> str:
    """Run red, nothing quarantined, nothing lost.

    :returns: the message.
    """
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == (code, Blame.ENVIRONMENT)
    assert report.published_id == ""
    assert rig.verdicts_against() == []
    return f"{report.failure.message} {report.failure.hint}"


@on_both
def test_r1_binlogs_purged(own_rig: OwnRig) -> None:
    rig = own_rig()
    first = rig.newest
    rig.primary.execute("INSERT INTO shop.notes VALUES ('lost')", "FLUSH BINARY LOGS")
    rig.primary.execute("INSERT INTO shop.notes VALUES ('kept')", "FLUSH BINARY LOGS")
    rig.primary.purge_logs()
    assert_stranded(rig, first, rig.cycle(), "BinlogPurged")


def with_errant(rig: Rig, backup_id: str, mariadb: str, mysql: str) -> str:
    """Return a newer copy of the backup that has one transaction more, by its flavor's words."""
    position = rig.catalog().backup(backup_id).manifest.position
    if rig.primary.flavor == "mariadb":
        errant = f"{position},{mariadb}"
        statements: tuple[str, ...] = (f"SET GLOBAL gtid_slave_pos='{errant}'",)
    else:
        errant = str(get_flavor("mysql").parse_position(f"{position},{mysql}"))
        statements = ("RESET BINARY LOGS AND GTIDS", f"SET GLOBAL gtid_purged='{errant}'")
    return tampered(rig, backup_id, by_sql(*statements), position=errant)


@on_both
def test_r2_errant_transaction_from_a_node(rig: Rig, backup_id: str) -> None:
    wrong = with_errant(
        rig, backup_id, f"7-{NODE_SERVER_IDS[5]}-1", f"{NODE_UUID_PREFIX}-4abc-8def-0123456789ab:1"
    )
    report = rig.cycle()
    rig.published(report)
    assert report.quarantined == [wrong]
    assert rig.against(wrong)[0].failure.code == "ErrantFromNode"  # type: ignore[union-attr]


@on_both
def test_r2_errant_transaction_from_a_former_primary(rig: Rig, backup_id: str) -> None:
    wrong = with_errant(rig, backup_id, "8-42-9", "11111111-2222-3333-4444-555555555555:9")
    assert_stranded(rig, wrong, rig.cycle(), "ErrantFromFormerPrimary")


@on_both
def test_r3_conflict_that_recurs(rig: Rig, backup_id: str) -> None:
    wrong = tampered(rig, backup_id, by_sql("DELETE FROM shop.orders WHERE id = 4242"))
    rig.primary.execute("UPDATE shop.orders SET note = CONCAT(note, '!') WHERE id = 4242")
    report = rig.cycle()
    rig.published(report)
    assert report.quarantined == [wrong]
    failure = rig.against(wrong)[0].failure
    assert failure is not None
    assert failure.code == "ReplayConflict"
    assert "1032" in failure.message
    assert "shop.orders" in failure.message


@on_both
def test_r3_conflict_that_does_not_recur(rig: Rig, backup_id: str) -> None:
    """A row is lost on the node only the first time: one more restore, no verdict against the backup."""
    rig.primary.execute("UPDATE shop.orders SET note = CONCAT(note, '?') WHERE id = 4243")

    def lose_a_row(step: str, state: JobState | None) -> None:
        if step == "replay.restore" and state is not None and state.status is JobStatus.SUCCEEDED:
            on_node(rig, "SET SESSION sql_log_bin=0", "DELETE FROM shop.orders WHERE id = 4243").close()

    report = rig.cycle(watch=lose_a_row)
    rig.published(report)
    assert report.steps["replay.catch_up"]["rebuilt"] == 1
    assert rig.verdicts_against() == []
    assert rig.catalog().backup(backup_id).proof is Proof.RESTORED


@on_both
def test_r3_a_table_that_the_backup_lost(rig: Rig, backup_id: str) -> None:
    wrong = tampered(rig, backup_id, by_sql("DROP TABLE shop.notes"))
    rig.primary.execute("INSERT INTO shop.notes VALUES ('to a table that the backup lost')")
    report = rig.cycle()
    rig.published(report)
    assert report.quarantined == [wrong]
    (verdict,) = rig.against(wrong)
    assert verdict.failure is not None
    assert (verdict.failure.code, verdict.failure.evidence["error"]) == ("ReplayConflict", 1146)


@on_both
def test_r3_a_table_that_the_primary_made_unlogged(own_rig: OwnRig) -> None:
    rig = own_rig()
    base = rig.newest
    with rig.primary.connect() as conn, conn.cursor() as cursor:
        cursor.execute("SET SESSION sql_log_bin=0")
        cursor.execute("CREATE TABLE shop.unlogged (id INT PRIMARY KEY)")
        cursor.execute("SET SESSION sql_log_bin=1")
        cursor.execute("INSERT INTO shop.unlogged VALUES (1)")
    assert_stranded(rig, base, rig.cycle(), "NotReplayable")


def on_node(rig: Rig, *statements: str) -> Conn:
    """Run statements on the live node as its agent.

    :returns: the connection, to keep open what they began.
    """
    (path,) = rig.workdir.iterdir()
    node = NodeDir(path)
    conn = get_flavor(rig.primary.flavor).server(node.layout(node.load(), rig.cluster())).connect()
    with conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    return conn


@on_both
def test_r4_primary_unreachable_at_first(rig: Rig) -> None:
    report = rig.cycle(primary={"port": free_port()}, retries=0)
    assert "127.0.0.1" in assert_environment(rig, report, "PrimaryUnreachable")


@on_both
def test_r4_primary_disappears_and_comes_back(own_rig: OwnRig) -> None:
    rig = own_rig()
    rig.primary.execute(MANY_ROWS)

    def crash() -> None:
        rig.primary.kill()
        time.sleep(2)
        rig.primary.restart()

    watch = Once("replay.catch_up", "catching up", crash)
    rig.published(rig.cycle(watch=watch))
    assert watch.done
    assert rig.verdicts_against() == []


@on_both
def test_r5_wrong_password(rig: Rig) -> None:
    before = _failed_logins(rig)
    report = rig.cycle(password="not-it-77aa", retries=2)
    message = assert_environment(rig, report, "ReplicationDenied")
    assert f"refused restore_replay@127.0.0.1:{rig.primary.port}: " in message
    assert "not-it-77aa" not in message
    # Some servers lock an account after a few of them.
    assert _failed_logins(rig) == before + 1


def _failed_logins(rig: Rig) -> int:
    return int(rig.primary.execute("SHOW GLOBAL STATUS LIKE 'Aborted_connects'")[0][1])


@on_both
def test_r5_missing_grant_is_named(new_primary: NewPrimary, tmp_path: Path) -> None:
    rig = Rig(new_primary(), tmp_path)
    rig.primary.execute("REVOKE REPLICATION SLAVE ON *.* FROM restore_replay")
    report = rig.cycle(retries=0)
    assert report.failure is not None
    assert report.failure.blame is Blame.ENVIRONMENT
    assert "REPLICATION SLAVE" in f"{report.failure.message} {report.failure.hint}"
    assert rig.catalog().backups == ()


@on_both
def test_r6_connecting_for_ever(own_rig: OwnRig) -> None:
    """The primary answers until replay has begun; then no connection succeeds, and nothing reports an error."""
    rig = own_rig()
    rig.primary.execute(MANY_ROWS)
    with TcpGate(rig.primary.port) as gate:
        watch = Once("replay.catch_up", "catching up", gate.shut)
        report = rig.cycle(
            primary={"port": gate.port}, catch_up={"stall_timeout": "4s"}, watch=watch, retries=0
        )
    assert watch.done
    assert "stalled" in assert_environment(rig, report, "CatchUpStalled")


@on_both
def test_r7_an_applier_that_stands_still(rig: Rig, backup_id: str) -> None:
    """What the receiver brings meanwhile is no progress towards a goal that it brought long ago."""
    rig.primary.execute("UPDATE shop.orders SET note = CONCAT(note, '.') WHERE id = 4244")
    held = []

    def lock_a_row(step: str, state: JobState | None) -> None:
        if step == "replay.restore" and state is not None and state.status is JobStatus.SUCCEEDED:
            held.append(on_node(rig, "BEGIN", "SELECT * FROM shop.orders WHERE id = 4244 FOR UPDATE"))

    with WriteLoad(rig.primary):
        report = rig.cycle(
            watch=lock_a_row, catch_up={"stall_timeout": "4s", "deadline": "1m"}, validate={}, retries=0
        )
    assert held
    assert "it lacks" in assert_environment(rig, report, "CatchUpStalled")


@on_both
@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER TABLE shop.orders ADD COLUMN h CHAR(128) AS (SHA2(RPAD(note, 60000, 'x'), 512)) STORED",),
        (
            "CREATE TABLE shop.keyless AS SELECT id, customer, total FROM shop.orders LIMIT 9000",
            "DELETE FROM shop.keyless",
        ),
    ],
    ids=["alter", "keyless-delete"],
)
def test_r7_one_long_statement_is_no_standstill(own_rig: OwnRig, statements: tuple[str, ...]) -> None:
    rig = own_rig()
    rig.primary.execute(*statements)
    second = rig.published(rig.cycle(catch_up={"stall_timeout": "2s"}, retries=0))
    assert rig.verdicts_against() == []
    assert rig.catalog().backup(second).manifest.base.kind == "backup"


@on_either
def test_r8_more_is_written_than_the_node_can_apply_before_its_deadline(own_rig: OwnRig) -> None:
    """A goal that stays where it was is reached; else the deadline ends the run, and says what was missing."""
    rig = own_rig()
    first = rig.newest
    rig.primary.execute(MANY_ROWS, MANY_ROWS)
    with WriteLoad(rig.primary):
        report = rig.cycle(catch_up={"deadline": "1s"}, retries=0)
        message = assert_environment(rig, report, "CatchUpDeadline")
        assert re.search(r"within 1 s: \d+ transactions at \d+/s, lacking ", message)
        second = rig.published(rig.cycle())
    assert rig.catalog().backup(second).manifest.base.backup_id == first


@on_both
def test_r10_binlogs_rotate_and_the_network_drops(own_rig: OwnRig) -> None:
    rig = own_rig()
    with TcpGate(rig.primary.port) as gate, WriteLoad(rig.primary):
        time.sleep(1)
        rig.primary.execute("FLUSH BINARY LOGS")

        def drops(step: str, state: JobState | None) -> None:
            if step == "replay.catch_up" and state and "catching up" in state.progress.phase:
                gate.drop_connections()

        report = rig.cycle(primary={"port": gate.port}, watch=drops)
    rig.published(report)
    assert rig.verdicts_against() == []


@on_both
def test_r12_memory_tables_and_a_restarted_primary(new_primary: NewPrimary, tmp_path: Path) -> None:
    rig = Rig(new_primary(), tmp_path)
    rig.primary.execute(
        "CREATE TABLE shop.cache (id INT PRIMARY KEY, v INT) ENGINE=MEMORY",
        "INSERT INTO shop.cache VALUES (1, 1), (2, 2)",
    )
    rig.full()
    rig.primary.execute("UPDATE shop.cache SET v = 9 WHERE id = 1")
    rig.primary.restart()
    rig.primary.execute("INSERT INTO shop.cache VALUES (3, 3)", "DELETE FROM shop.cache WHERE id = 3")
    second = rig.published(rig.cycle())
    assert rig.verdicts_against() == []
    assert "shop.cache" in rig.catalog().backup(second).manifest.compared["uncompared"]


@on_both
def test_r12_ddl_on_memory_tables(new_primary: NewPrimary, tmp_path: Path) -> None:
    """Nothing of it is evidence. Rows that became permanent are not in the binary log: a fresh full has them."""
    rig = Rig(new_primary(), tmp_path)
    rig.primary.execute(*memory_tables.BEFORE)
    rig.full()
    rig.primary.execute(*memory_tables.AFTER)
    second = rig.published(rig.cycle())
    assert rig.verdicts_against() == []
    assert rig.catalog().backup(second).manifest.compared["uncompared"].keys() >= {
        "mem.cache",
        "mem.cust,mers",
    }
    rig.primary.execute(
        "ALTER TABLE mem.cache ENGINE=InnoDB",
        "UPDATE mem.cache SET v = 'y'",
        "INSERT INTO mem.kept VALUES (8)",
    )
    assert_stranded(rig, second, rig.cycle(), "NotReplayable")


@on_both
def test_r12_temporary_tables_under_mixed(own_rig: OwnRig) -> None:
    rig = own_rig(options=["--binlog-format=MIXED"])
    with rig.primary.connect() as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE shop.t (id INT)")
        cursor.execute("INSERT INTO shop.t VALUES (1)")
        cursor.execute("INSERT INTO shop.notes SELECT CONCAT('temp ', id) FROM shop.t")
    second = rig.published(rig.cycle())
    assert rig.verdicts_against() == []
    warnings = rig.catalog().backup(second).manifest.notes["warnings"]
    assert any("MIXED" in text or "ROW" in text for text in warnings.values())


@on_both
def test_r12_xa_prepared_across_the_seed(new_primary: NewPrimary, tmp_path: Path) -> None:
    rig = Rig(new_primary(), tmp_path)
    with rig.primary.connect() as conn, conn.cursor() as cursor:
        for statement in (
            "XA START 'x'",
            "INSERT INTO shop.notes VALUES ('xa')",
            "XA END 'x'",
            "XA PREPARE 'x'",
        ):
            cursor.execute(statement)
        committed = later(4.0, lambda: cursor.execute("XA COMMIT 'x'"))
        first = rig.full()
        committed.join()
    rig.published(rig.cycle())
    assert rig.verdicts_against() == []
    assert rig.catalog().backup(first).proof is Proof.RESTORED


@on_both
def test_r13_primary_rewound(new_primary: NewPrimary, tmp_path: Path) -> None:
    """The primary went back in time and wrote other events under the same GTIDs."""
    primary = new_primary()
    primary.restart()
    earlier = tmp_path / "earlier"
    primary._terminate(15)  # type: ignore[arg-type]
    shutil.copytree(primary.datadir, earlier)
    primary.restart()
    rig = Rig(primary, tmp_path)
    primary.execute(
        "INSERT INTO shop.notes VALUES ('one history')", "INSERT INTO shop.notes VALUES ('of two')"
    )
    first = rig.full()
    primary._terminate(15)  # type: ignore[arg-type]
    shutil.rmtree(primary.datadir)
    shutil.copytree(earlier, primary.datadir)
    primary.restart()
    time.sleep(1.1)
    primary.execute(*[f"INSERT INTO shop.notes VALUES ('another {n}')" for n in range(6)])
    assert_stranded(rig, first, rig.cycle(), "HistoryDiverged")


@pytest.mark.parametrize("appliers", [4])
def test_several_domains_with_parallel_appliers(own_rig: OwnRig, appliers: int) -> None:
    rig = own_rig(overrides={"catch_up": {"appliers": appliers}})
    with rig.primary.connect() as conn, conn.cursor() as cursor:
        for n in range(60):
            cursor.execute(f"SET SESSION gtid_domain_id = {n % 3}")
            cursor.execute(f"INSERT INTO shop.notes VALUES ('domain {n}')")
    second = rig.published(rig.cycle())
    assert rig.verdicts_against() == []
    assert rig.catalog().backup(second).manifest.position.count(",") == 2
