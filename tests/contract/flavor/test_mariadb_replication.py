from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import msgspec
import pytest

from airflow_restore_replay.core.errors import (
    BinlogPurged,
    CatchUpStalled,
    HistoryDiverged,
    NotReplayable,
    ReplayConflict,
    ReplicationDenied,
)
from airflow_restore_replay.core.flavor.mariadb import replication
from airflow_restore_replay.core.flavor.mariadb.flavor import MariaDbFlavor
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition
from airflow_restore_replay.core.flavor.mariadb.server import MariaDbServer
from airflow_restore_replay.core.flavor.sql import rows, run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint
from tests.contract.flavor.conftest import Driver
from tests.support import memory_tables
from tests.support.findings import refusals, warnings
from tests.support.mariadb import MariaDbPrimary, WriteLoad, create_zoo


def test_replays_exactly_until_the_goal_while_the_primary_goes_on(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    node.start(replaying=True)
    with WriteLoad(primary) as load, node.connect() as conn, flavor.connect(endpoint) as reader:
        load.wait_for(50)
        for appliers in (1, 3):
            goal = flavor.open_snapshot(endpoint, reader).position
            count = value(reader, "SELECT COUNT(*) FROM `load`.t")
            total = value(reader, "SELECT SUM(CRC32(CONCAT(id, k, c))) FROM `load`.t")
            run(reader, "COMMIT")
            driver.catch_up(conn, endpoint, goal, appliers=appliers)
            status = driver.wait(conn, lambda s: not s.applier_running)
            assert str(status.applied) == str(goal)
            assert status.error is None
            assert value(conn, "SELECT COUNT(*) FROM `load`.t") == count
            assert value(conn, "SELECT SUM(CRC32(CONCAT(id, k, c))) FROM `load`.t") == total
    assert flavor.executed_position(node.connect()).contains(goal)


def test_a_reached_goal_needs_no_replication(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, flavor: MariaDbFlavor
) -> None:
    node.start(replaying=True)
    with node.connect() as conn:
        flavor.start_replication(conn, endpoint, until=flavor.parse_position(""), appliers=1)
        status = flavor.replication_status(conn)
    assert not status.applier_running
    assert status.error is None


def test_what_is_counted_is_not_behind_what_is_applied(
    primary: MariaDbPrimary,
    endpoint: Endpoint,
    node: MariaDbServer,
    driver: Driver,
    flavor: MariaDbFlavor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A transaction is applied while the status is read: a catch-up of one transaction reported none."""
    node.start(replaying=True)
    executed_position = replication.executed_position

    def after_one_more(conn: Conn) -> MariaDbPosition:
        primary.execute("CREATE DATABASE one_more")
        with flavor.connect(endpoint) as reader:
            goal = flavor.primary_position(reader)
        deadline = time.monotonic() + 30
        while not executed_position(conn).contains(goal):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return executed_position(conn)

    with node.connect() as conn:
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        before = driver.wait(conn, lambda s: s.io_running and s.applier_running)
        monkeypatch.setattr(replication, "executed_position", after_one_more)
        after = flavor.replication_status(conn)
    assert after.applied.contains(before.applied)
    assert str(after.applied) != str(before.applied)
    assert after.transactions > before.transactions


def test_a_wrong_password_is_an_error_at_once(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    node.start(replaying=True)
    wrong = msgspec.structs.replace(endpoint, password="wr0ng-secret")
    with node.connect() as conn:
        flavor.start_replication(conn, wrong, until=None, appliers=1)
        error = driver.wait(conn, lambda s: s.error is not None).error
    assert isinstance(error, ReplicationDenied)
    assert "wr0ng-secret" not in str(error)
    with pytest.raises(ReplicationDenied) as caught:
        flavor.connect(wrong)
    assert "wr0ng-secret" not in str(caught.value)


def test_a_missing_grant_is_named(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    primary.execute("REVOKE REPLICATION SLAVE ON *.* FROM restore_replay")
    node.start(replaying=True)
    with node.connect() as conn:
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        error = driver.wait(conn, lambda s: s.error is not None).error
    assert isinstance(error, ReplicationDenied)
    assert "REPLICATION SLAVE" in error.hint
    with flavor.connect(endpoint) as conn:
        refused = refusals(flavor, conn)
    assert refused["grant REPLICATION SLAVE"].fix == "GRANT REPLICATION SLAVE ON *.* TO 'restore_replay'@'%';"


def test_purged_binary_logs_and_a_rewound_primary_are_told_apart(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    primary.execute("CREATE DATABASE a", "FLUSH BINARY LOGS", "CREATE TABLE a.t (i INT)", "FLUSH BINARY LOGS")
    primary.purge_logs()
    node.start(replaying=True)
    with node.connect() as conn:
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        assert isinstance(driver.wait(conn, lambda s: s.error is not None).error, BinlogPurged)
        run(conn, "STOP SLAVE")
        flavor.set_executed(conn, flavor.parse_position("0-1-100000"))
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        assert isinstance(driver.wait(conn, lambda s: s.error is not None).error, HistoryDiverged)


def test_a_conflict_names_error_position_and_table(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    primary.execute("CREATE DATABASE a", "CREATE TABLE a.t (i INT PRIMARY KEY)", "INSERT INTO a.t VALUES (1)")
    node.start(replaying=True)
    with node.connect() as conn, flavor.connect(endpoint) as reader:
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        run(conn, "DELETE FROM a.t")
        primary.execute("UPDATE a.t SET i = 2")
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        error = driver.wait(conn, lambda s: s.error is not None).error
    assert isinstance(error, ReplayConflict)
    assert error.evidence["error"] == 1032
    assert error.evidence["table"] == "a.t"
    assert "binlog.0" in error.evidence["position"]


def test_a_primary_that_is_away_is_no_error_and_its_return_goes_on(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    primary.execute("CREATE DATABASE a")
    primary.kill()
    node.start(replaying=True)
    with node.connect() as conn:
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        status = driver.wait(conn, lambda s: s.io_connecting)
        assert status.error is None
        assert not status.io_running
        primary.restart()
        primary.execute("CREATE TABLE a.t (i INT)")
        goal = flavor.parse_position(primary.execute("SELECT @@gtid_binlog_pos")[0][0])
        assert driver.wait(conn, lambda s: s.applied.contains(goal)).error is None


def test_memory_tables_survive_a_restart_of_primary_and_node(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    primary.execute("CREATE DATABASE a", "CREATE TABLE a.m (i INT PRIMARY KEY) ENGINE=MEMORY")
    primary.execute("CREATE TABLE a.mxm (i INT PRIMARY KEY)", "INSERT INTO a.m VALUES (1), (2)")
    node.start(replaying=True)
    with node.connect() as conn, flavor.connect(endpoint) as reader:
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        flavor.forget_replication(conn)
    node.stop()
    primary.execute("DELETE FROM a.m WHERE i = 1", "INSERT INTO a.mxm VALUES (7)")
    primary.restart()
    primary.execute("INSERT INTO a.m VALUES (9)", "DELETE FROM a.m", "INSERT INTO a.mxm VALUES (8)")
    node.start(replaying=True)
    with node.connect() as conn, flavor.connect(endpoint) as reader:
        assert [table.qualified for table in flavor.memory_tables(conn)] == ["a.m"]
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        assert rows(conn, "SELECT i FROM a.mxm ORDER BY i") == [(7,), (8,)]


@pytest.mark.parametrize("appliers", [1, 3])
def test_r12_ddl_on_memory_tables_is_replayed_and_their_rows_are_not(
    primary: MariaDbPrimary,
    endpoint: Endpoint,
    node: MariaDbServer,
    driver: Driver,
    flavor: MariaDbFlavor,
    appliers: int,
) -> None:
    primary.execute(*memory_tables.BEFORE)
    node.start(replaying=True)
    with node.connect() as conn, flavor.connect(endpoint) as reader:
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        flavor.stop_replication(conn)
        flavor.forget_replication(conn)
    node.stop()
    node.start(replaying=True)
    for statements in (memory_tables.AFTER, memory_tables.LATER):
        primary.execute(*statements)
        with node.connect() as conn, primary.connect() as reader:
            driver.catch_up(conn, endpoint, flavor.primary_position(reader), appliers=appliers)
            flavor.stop_replication(conn)
            memory_tables.assert_same(reader, conn)
            assert "BLACKHOLE" not in str(rows(conn, "SELECT * FROM mysql.plugin"))
        primary.restart()


def test_r12_a_memory_table_that_became_permanent_strands_the_base(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    primary.execute(*memory_tables.BEFORE)
    node.start(replaying=True)
    with node.connect() as conn, flavor.connect(endpoint) as reader:
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        flavor.stop_replication(conn)
        primary.execute("ALTER TABLE mem.cache ENGINE=InnoDB")
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        with pytest.raises(NotReplayable, match=r"mem\.cache"):
            flavor.stop_replication(conn)
        primary.execute("UPDATE mem.cache SET v = 'y' WHERE id = 1")
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        status = driver.wait(conn, lambda s: s.error is not None)
        assert isinstance(status.error, NotReplayable)


def test_a_prepared_xa_transaction_survives_the_snapshot(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    primary.execute("CREATE DATABASE a", "CREATE TABLE a.t (i INT PRIMARY KEY)")
    primary.execute("XA START 'x'", "INSERT INTO a.t VALUES (1)", "XA END 'x'", "XA PREPARE 'x'")
    node.start(replaying=True)
    with node.connect() as conn, flavor.connect(endpoint) as reader:
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        flavor.stop_replication(conn)
        flavor.forget_replication(conn)
    node.stop()
    primary.execute("XA COMMIT 'x'")
    node.start(replaying=True)
    assert node.log_errors() == []
    with node.connect() as conn, flavor.connect(endpoint) as reader:
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        assert rows(conn, "SELECT i FROM a.t") == [(1,)]


def test_open_temporary_tables_forbid_the_stop(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    primary.execute("SET GLOBAL binlog_format = 'MIXED'", "CREATE DATABASE a", "CREATE TABLE a.t (i INT)")
    node.start(replaying=True)
    with primary.connect() as writer, node.connect() as conn, flavor.connect(endpoint) as reader:
        run(writer, "SET SESSION binlog_format = 'STATEMENT'")
        run(writer, "CREATE TEMPORARY TABLE a.tmp (i INT)")
        run(writer, "INSERT INTO a.tmp VALUES (1)")
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        with pytest.raises(CatchUpStalled):
            flavor.stop_replication(conn)
        run(writer, "INSERT INTO a.t SELECT i FROM a.tmp")
        run(writer, "DROP TEMPORARY TABLE a.tmp")
        driver.catch_up(conn, endpoint, flavor.primary_position(reader))
        flavor.stop_replication(conn)
        assert rows(conn, "SELECT i FROM a.t") == [(1,)]
        assert "binlog_format" in warnings(flavor, reader)


def test_replicated_statements_touch_nothing_outside_the_node(
    tmp_path: Path,
    primary: MariaDbPrimary,
    endpoint: Endpoint,
    node: MariaDbServer,
    driver: Driver,
    flavor: MariaDbFlavor,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    source = tmp_path / "rows.txt"
    source.write_text("1\n2\n")
    primary.execute(
        "CREATE DATABASE a",
        f"CREATE TABLE a.d (i INT PRIMARY KEY) ENGINE=InnoDB DATA DIRECTORY='{outside}'",
        "CREATE TABLE a.p (i INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY RANGE (i)"
        f" (PARTITION p0 VALUES LESS THAN MAXVALUE DATA DIRECTORY='{outside}')",
        f"CREATE TABLE a.m (i INT, KEY (i)) ENGINE=MyISAM DATA DIRECTORY='{outside}' INDEX DIRECTORY='{outside}'",
        f"ALTER TABLE a.p REORGANIZE PARTITION p0 INTO (PARTITION q0 VALUES LESS THAN (9) DATA DIRECTORY='{outside}',"
        " PARTITION q1 VALUES LESS THAN MAXVALUE)",
        f"CREATE TABLE a.mp (i INT) ENGINE=MyISAM PARTITION BY HASH (i) (PARTITION h0 DATA DIRECTORY='{outside}')",
        f"CREATE TABLE a.r (i INT) ENGINE=Aria DATA DIRECTORY='{outside}'",
        f"CREATE TABLE a.s ENGINE=InnoDB DATA DIRECTORY='{outside}' SELECT 1 AS i",
        "CREATE TABLE a.l (i INT)",
        "SET SESSION binlog_format='STATEMENT'",
        f"LOAD DATA INFILE '{source}' INTO TABLE a.l",
    )
    with flavor.connect(endpoint) as reader:
        assert set(flavor.unsupported_tables(reader)) == {"a.d", "a.p", "a.m", "a.mp", "a.r", "a.s"}
        goal = flavor.primary_position(reader)
    before = _listing(outside)
    assert before
    node.start(replaying=True)
    with node.connect() as conn:
        driver.catch_up(conn, endpoint, goal)
        assert rows(conn, "SELECT i FROM a.l ORDER BY i") == [(1,), (2,)]
        assert flavor.unsupported_tables(conn) == {}
    node.stop()
    assert _listing(outside) == before
    inside = {path.name for path in (node.layout.datadir / "a").iterdir()}
    assert {"d.ibd", "p#P#q0.ibd", "m.MYD", "m.MYI", "mp#P#h0.MYD", "r.MAD", "s.ibd"} <= inside
    assert not any(path.is_symlink() for path in (node.layout.datadir / "a").iterdir())


def test_nothing_of_the_replication_is_left_in_the_copy(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    with primary.connect() as writer:
        create_zoo(writer)
    node.start(replaying=True)
    with node.connect() as conn, flavor.connect(endpoint) as reader:
        goal = flavor.primary_position(reader)
        driver.catch_up(conn, endpoint, goal)
        states = flavor.event_states(reader)
        assert states == {"zoo.tick": "ENABLED", "zoo.tock": "DISABLED"}
        assert set(flavor.event_states(conn).values()) == {"SLAVESIDE_DISABLED"}
        flavor.stop_replication(conn)
        flavor.forget_replication(conn)
        assert rows(conn, "SHOW ALL SLAVES STATUS") == []
        assert str(flavor.executed_position(conn)) == str(goal)
    node.stop()
    files = [path for path in node.layout.datadir.parent.rglob("*") if path.is_file()]
    secret, address = endpoint.password.encode(), f"{endpoint.port}".encode()
    assert not [path for path in files if secret in path.read_bytes()]
    assert not [path for path in files if path.name == "master.info" and address in path.read_bytes()]
    names = [path.name for path in node.layout.datadir.iterdir()]
    assert not [name for name in names if "relay" in name or "master" in name]
    node.start(replaying=False)
    with node.connect() as conn:
        assert str(flavor.executed_position(conn)) == str(goal)
        assert not flavor.replication_status(conn).io_running


def test_x28_no_file_of_the_node_holds_the_primarys_password(
    primary: MariaDbPrimary, endpoint: Endpoint, node: MariaDbServer, driver: Driver, flavor: MariaDbFlavor
) -> None:
    """While it replicates, after the connection was lost, and when replication starts again, with all logs on."""

    def holding() -> list[str]:
        files = [path for path in node.layout.datadir.parent.rglob("*") if path.is_file()]
        return [path.name for path in files if endpoint.password.encode() in path.read_bytes()]

    node.start(replaying=True)
    with node.connect() as conn, flavor.connect(endpoint) as reader:
        # Behind the creation of the account, whose statement is in the binary log.
        flavor.set_executed(conn, flavor.primary_position(reader))
        # As a replicated function could.
        for setting in ("log_output='FILE,TABLE'", "general_log=1", "long_query_time=0", "slow_query_log=1"):
            run(conn, f"SET GLOBAL {setting}")
        for number in range(2):
            with node.connect() as session:
                flavor.start_replication(session, endpoint, until=None, appliers=1)
            driver.wait(conn, lambda s: s.io_running and s.applier_running)
            assert holding() == []
            primary.restart()
            primary.execute(f"CREATE DATABASE after_{number}")
            goal = flavor.parse_position(primary.execute("SELECT @@gtid_binlog_pos")[0][0])
            driver.wait(conn, lambda s, goal=goal: s.applied.contains(goal))  # type: ignore[misc]
            assert holding() == []
            flavor.stop_replication(conn)
            assert holding() == []
        flavor.forget_replication(conn)
    relay = node.layout.run_dir / "relay" / "master.info"
    relay.write_text(endpoint.password)  # as after a kill before it was removed
    node.kill()
    assert holding() == []


def test_everything_a_node_listens_on_is_a_private_socket(
    node: MariaDbServer,
) -> None:
    node.start(replaying=True)
    socket = Path(node.endpoint().socket or "")
    assert stat.S_ISSOCK(os.stat(socket).st_mode)
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


def _listing(root: Path) -> dict[str, tuple[int, int]]:
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}
