"""A MySQL node: its server, its replication, its seeds. One primary for all tests; each test has its own node."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.sections import Seed
from airflow_restore_replay.core.errors import (
    BinlogPurged,
    NodeServerCrashed,
    NotReplayable,
    PreflightFailed,
    ReplayConflict,
    ReplicationDenied,
    ServerStartFailed,
)
from airflow_restore_replay.core.flavor.mysql import grants
from airflow_restore_replay.core.flavor.mysql.flavor import MySqlFlavor
from airflow_restore_replay.core.flavor.mysql.identity import NODE_UUID_PREFIX
from airflow_restore_replay.core.flavor.mysql.server import MySqlServer
from airflow_restore_replay.core.flavor.sql import rows, run, status, value
from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.jobs.seed import SEEDS, Seeded, SeedInputs
from airflow_restore_replay.core.repository.transfer.snapshot import matches
from tests.support import memory_tables
from tests.support.mysql import MySqlPrimary
from tests.support.mysql_node import catch_up, initialized, layout_at, wait
from tests.support.primary import BACKUP_PASSWORD, WriteLoad, create_zoo
from tests.support.tcp import TcpGate

flavor = MySqlFlavor()


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MySqlPrimary]:
    started = MySqlPrimary.start(tmp_path_factory.mktemp("mysql") / "primary")
    started.create_backup_account()
    started.execute(
        "CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50))"
    )
    with started.connect() as conn:
        create_zoo(conn, MySqlPrimary.zoo)
    yield started
    started.stop()


@pytest.fixture
def endpoint(primary: MySqlPrimary) -> Endpoint:
    return primary.endpoint("restore_replay")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MySqlServer]:
    """An initialized node; not started."""
    server = initialized(tmp_path / "node")
    yield server
    server.kill()


@pytest.fixture
def empty_node(tmp_path: Path) -> Iterator[MySqlServer]:
    server = MySqlServer(layout_at(tmp_path / "node"))
    yield server
    server.kill()


# --- the server -----------------------------------------------------------------------------------------------


def test_a_node_is_unreachable_harmless_and_stops_without_traces(node: MySqlServer) -> None:
    node.start(replaying=True)
    with node.connect() as conn:
        variables = dict(rows(conn, "SHOW GLOBAL VARIABLES"))
        assert value(conn, "SELECT CURRENT_USER()") == "restore_replay_agent@localhost"
        assert status(conn, "Innodb_redo_log_enabled") == {"innodb_redo_log_enabled": "OFF"}
        run(conn, "CREATE DATABASE own")
        # A node writes no binary log, so its own statements have no GTID.
        assert str(flavor.executed_position(conn)) == ""
    expected = {
        "skip_networking": "ON",
        "read_only": "ON",
        "event_scheduler": "OFF",
        "local_infile": "OFF",
        "log_bin": "OFF",
        "persisted_globals_load": "OFF",
    }
    assert {name: variables[name] for name in expected} == expected
    assert "mysqlx_port" not in variables
    assert variables["server_uuid"].startswith(NODE_UUID_PREFIX)
    assert list(Path(variables["secure_file_priv"]).iterdir()) == []
    assert {p.name for p in Path(variables["plugin_dir"]).iterdir()} <= {
        "mysql_clone.so",
        "component_reference_cache.so",
        "component_classic_hashing.so",
        "auth_socket.so",
        "mysql_no_login.so",
    }
    for directory in (node.layout.run_dir, node.layout.datadir, node.layout.tmp_dir):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert node.log_errors() == []
    password = (node.layout.run_dir / "agent-password").read_text()
    node.stop()
    node.stop()
    assert not node.alive()
    left = [path for path in node.layout.run_dir.parent.rglob("*") if path.is_file()]
    assert not [path for path in left if password.encode() in path.read_bytes()]
    redo = [f for f in (node.layout.datadir / "#innodb_redo").iterdir() if not f.name.endswith("_tmp")]
    assert sum(f.stat().st_size for f in redo) <= 8 * 2**20
    assert list(node.layout.run_dir.glob("s")) == []
    _is_durable_and_has_no_agent(node)


def _is_durable_and_has_no_agent(node: MySqlServer) -> None:
    """What a person finds who starts the copy: redo is on, and it has none of our accounts."""
    node.start(replaying=False)
    with node.connect() as conn:
        assert status(conn, "Innodb_redo_log_enabled") == {"innodb_redo_log_enabled": "ON"}
    node.kill()


def test_another_process_can_watch_and_stop_it(node: MySqlServer) -> None:
    node.start(replaying=False)
    frozen = pickle.dumps(node.layout).hex()
    code = (
        "import pickle; from airflow_restore_replay.core.flavor.mysql.server import MySqlServer; "
        f"s = MySqlServer(pickle.loads(bytes.fromhex('{frozen}'))); assert s.alive(); s.stop(); assert not s.alive()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not node.alive()


def test_a_server_killed_without_redo_does_not_start_again(node: MySqlServer) -> None:
    node.start(replaying=True)
    node.kill()
    with pytest.raises(ServerStartFailed, match="(?i)redo logging was disabled"):
        node.start(replaying=True)
    assert not node.alive()


def test_a_server_that_died_cannot_be_stopped_cleanly(node: MySqlServer) -> None:
    node.start(replaying=True)
    node.kill()
    with pytest.raises(NodeServerCrashed, match="died by itself"):
        node.stop()


def test_damage_at_the_first_start_is_told_in_the_servers_words(node: MySqlServer) -> None:
    path = node.layout.datadir / "mysql.ibd"
    with path.open("r+b") as file:
        file.seek(16384 * 4)
        file.write(os.urandom(16384 * 4))
    with pytest.raises(ServerStartFailed) as failed:
        node.start(replaying=True)
    assert failed.value.evidence["log"]
    assert "page" in str(failed.value).lower()


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreflightFailed, match="mysqld is not installed") as missing:
        MySqlServer(layout_at(tmp_path, bindir=tmp_path)).release()
    assert "mysql-server" in missing.value.hint


# --- seeds and replay -----------------------------------------------------------------------------------------


def seed(primary: Endpoint, node: MySqlServer, method: str) -> Seeded:
    inputs = SeedInputs(
        flavor=flavor,
        server=node,
        primary=primary,
        policy=Seed(),
        secrets_dir=node.layout.run_dir / "secrets",
        progress=lambda done, total: None,
        cancelled=lambda: False,
    )
    return SEEDS[method](inputs)


@pytest.mark.parametrize("method", ["clone", "logical"])
def test_a_seed_under_load_is_exact_and_goes_on(
    primary: MySqlPrimary, endpoint: Endpoint, empty_node: MySqlServer, method: str
) -> None:
    with WriteLoad(primary, pause_s=0.01) as load:
        load.wait_for(20)
        seeded = seed(endpoint, empty_node, method)
        assert seeded.method == method
        assert empty_node.log_errors() == []
        with flavor.connect(endpoint) as reader, empty_node.connect() as conn:
            opened = flavor.open_snapshot(endpoint, reader)
            catch_up(flavor, conn, endpoint, opened.position)
            assert str(flavor.executed_position(conn)) == str(opened.position)
            for table in ("`load`.t", "zoo.plain", "zoo.parted", "zoo.generated", "zoo.child", "zoo.general"):
                assert value(conn, f"SELECT COUNT(*) FROM {table}") == value(
                    reader, f"SELECT COUNT(*) FROM {table}"
                )
            flavor.forget_replication(conn)
            accounts = {user for (user,) in rows(conn, "SELECT user FROM mysql.user")}
            assert {"visitor", "zookeeper", "restore_replay"} <= accounts
            assert value(conn, "SELECT zoo.twice(21)") == 42
            states = flavor.event_states(conn)
            assert set(states) == {"zoo.tick", "zoo.tock"}
    empty_node.stop()
    _holds_no_secret(empty_node)


def _holds_no_secret(node: MySqlServer) -> None:
    """Neither the password nor a way to the primary is in what would be copied."""
    root = node.layout.datadir
    for path in root.rglob("*"):
        relative = str(path.relative_to(root))
        if path.is_file() and not matches(relative, flavor.excluded_files):
            assert BACKUP_PASSWORD.encode() not in path.read_bytes(), path


def test_where_clone_would_leave_tables_out_the_seed_is_logical(
    primary: MySqlPrimary, endpoint: Endpoint, empty_node: MySqlServer
) -> None:
    primary.execute("CREATE TABLE d.isam (id INT) ENGINE=MyISAM", "INSERT INTO d.isam VALUES (1), (2)")
    try:
        seeded = seed(endpoint, empty_node, "clone")
        assert seeded.method == "logical"
        assert seeded.notes == {"instead_of": "clone", "because": "CLONE copies InnoDB only: d.isam (MyISAM)"}
        with empty_node.connect() as conn:
            assert value(conn, "SELECT COUNT(*) FROM d.isam") == 2
    finally:
        primary.execute("DROP TABLE d.isam")


def test_what_clone_lacks_is_named_before_anything_starts(
    primary: MySqlPrimary, endpoint: Endpoint, empty_node: MySqlServer
) -> None:
    managed = primary.create_backup_account("no_clone")
    primary.execute(f"REVOKE {', '.join(grants.OPTIONAL)} ON *.* FROM no_clone@'%'")
    with pytest.raises(PreflightFailed, match="BACKUP_ADMIN") as refused:
        seed(managed, empty_node, "clone")
    assert "GRANT BACKUP_ADMIN ON *.* TO 'no_clone'@'%';" in refused.value.hint
    primary.execute("SET sql_log_bin=0", "UNINSTALL PLUGIN clone")
    try:
        with pytest.raises(PreflightFailed, match="not active") as refused:
            seed(endpoint, empty_node, "clone")
        assert "INSTALL PLUGIN clone" in refused.value.hint
    finally:
        primary.execute("SET sql_log_bin=0", "INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
    assert not empty_node.layout.datadir.exists()


def test_the_primary_may_load_the_plugin_by_an_option(
    primary: MySqlPrimary, endpoint: Endpoint, empty_node: MySqlServer
) -> None:
    # As with plugin-load-add: it is active, and mysql.plugin does not name it.
    primary.execute("SET sql_log_bin=0", "DELETE FROM mysql.plugin WHERE name = 'clone'")
    try:
        assert seed(endpoint, empty_node, "clone").method == "clone"
    finally:
        primary.execute("SET sql_log_bin=0", "INSERT INTO mysql.plugin VALUES ('clone', 'mysql_clone.so')")
    with empty_node.connect() as conn:
        assert value(conn, "SELECT COUNT(*) FROM mysql.plugin WHERE name = 'clone'") == 0


def at_primary(primary: MySqlPrimary, endpoint: Endpoint, node: MySqlServer) -> None:
    """Declare an initialized node to be at the primary's present position, with the table of the tests."""
    node.start(replaying=True)
    with flavor.connect(endpoint) as reader, node.connect() as conn:
        flavor.set_executed(conn, flavor.primary_position(reader))
        run(conn, "CREATE DATABASE d")
        run(conn, "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50))")
        ids = rows(reader, "SELECT id, v FROM d.t")
        for row in ids:
            run(conn, "INSERT INTO d.t VALUES (%s, %s)", row)


@pytest.mark.parametrize("appliers", [1, 3])
def test_replay_stops_exactly_at_the_goal_and_leaves_nothing(
    primary: MySqlPrimary, endpoint: Endpoint, node: MySqlServer, appliers: int
) -> None:
    at_primary(primary, endpoint, node)
    primary.execute(*(f"INSERT INTO d.t (v) VALUES ('{n}')" for n in range(100)))
    with flavor.connect(endpoint) as reader:
        goal = flavor.primary_position(reader)
        count = value(reader, "SELECT COUNT(*) FROM d.t")
    primary.execute(
        "SET gtid_next='AUTOMATIC:later'", *(f"INSERT INTO d.t (v) VALUES ('x{n}')" for n in range(50))
    )
    with node.connect() as conn:
        catch_up(flavor, conn, endpoint, goal, appliers=appliers)
        assert str(flavor.executed_position(conn)) == str(goal)
        assert value(conn, "SELECT COUNT(*) FROM d.t") == count
        assert rows(conn, "SELECT User_name, User_password FROM mysql.slave_master_info") in (
            [("", "")],
            [(None, None)],
        )
        # Contained already: nothing starts.
        flavor.start_replication(conn, endpoint, until=goal, appliers=appliers)
        assert not flavor.replication_status(conn).applier_running
        flavor.forget_replication(conn)
        assert rows(conn, "SHOW REPLICA STATUS") == []
        assert str(flavor.executed_position(conn)) == str(goal)
    node.stop()
    _holds_no_secret(node)


def test_a_connection_that_drops_amid_the_last_transaction(
    primary: MySqlPrimary, endpoint: Endpoint, node: MySqlServer
) -> None:
    """With UNTIL SQL_AFTER_GTIDS the applier and whoever asks for its status would wait for ever."""
    at_primary(primary, endpoint, node)
    primary.execute(
        "CREATE TABLE IF NOT EXISTS d.big (id INT, v VARCHAR(1000))",
        "INSERT INTO d.big WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 50000)"
        " SELECT /*+ SET_VAR(cte_max_recursion_depth=100000) */ n, REPEAT('x', 900) FROM s",
    )
    with flavor.connect(endpoint) as reader:
        goal = flavor.primary_position(reader)
    with TcpGate(primary.port) as gate, node.connect() as conn:
        through = Endpoint(host="127.0.0.1", port=gate.port, user=endpoint.user, password=endpoint.password)
        flavor.start_replication(conn, through, until=goal, appliers=1)

        def inserted() -> int:
            return int(status(conn, "Innodb_rows_inserted")["innodb_rows_inserted"])

        begun = inserted()
        wait(flavor, conn, lambda s: inserted() > begun + 2000)
        gate.drop_connections()
        reached = wait(flavor, conn, lambda s: s.error is not None or s.applied.contains(goal))
        assert reached.error is None
        assert value(conn, "SELECT COUNT(*) FROM d.big") == 50000
        flavor.stop_replication(conn)
    primary.execute("DROP TABLE d.big")


@pytest.mark.parametrize("appliers", [1, 3])
def test_r12_ddl_on_memory_tables_is_replayed_and_their_rows_are_not(
    primary: MySqlPrimary, endpoint: Endpoint, node: MySqlServer, appliers: int
) -> None:
    at_primary(primary, endpoint, node)
    primary.execute(*memory_tables.BEFORE)
    with flavor.connect(endpoint) as reader, node.connect() as conn:
        catch_up(flavor, conn, endpoint, flavor.primary_position(reader))
        flavor.forget_replication(conn)
    node.stop()
    node.start(replaying=True)
    for statements in (memory_tables.AFTER, memory_tables.LATER):
        primary.execute(*statements)
        with node.connect() as conn, primary.connect() as reader:
            catch_up(flavor, conn, endpoint, flavor.primary_position(reader), appliers=appliers)
            memory_tables.assert_same(reader, conn)
        primary.restart()
    primary.execute("DROP DATABASE mem")


def test_r12_memory_tables_of_a_primary_that_logs_statements_beside_rows(
    primary: MySqlPrimary, endpoint: Endpoint, node: MySqlServer
) -> None:
    at_primary(primary, endpoint, node)
    primary.execute(*memory_tables.BEFORE)
    with flavor.connect(endpoint) as reader, node.connect() as conn:
        catch_up(flavor, conn, endpoint, flavor.primary_position(reader))
        primary.execute("SET binlog_rows_query_log_events = ON", "UPDATE mem.cache SET v = 'x'")
        # Only a session of the past logged its statements.
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        status = wait(flavor, conn, lambda s: s.error is not None)
        assert isinstance(status.error, NotReplayable)
        flavor.stop_replication(conn)
        primary.execute("SET GLOBAL binlog_rows_query_log_events = ON")
        try:
            primary.execute("UPDATE mem.`or_ers%` SET id = 5", "INSERT INTO mem.orders1 VALUES (1, 1)")
            catch_up(flavor, conn, endpoint, flavor.primary_position(reader))
            assert rows(conn, "SELECT id FROM mem.orders1") == [(1,)]
            primary.execute("ALTER TABLE mem.cache ADD COLUMN w INT")
            with pytest.raises(NotReplayable, match=r"mem\.cache"):
                catch_up(flavor, conn, endpoint, flavor.primary_position(reader))
        finally:
            primary.execute("SET GLOBAL binlog_rows_query_log_events = OFF", "DROP DATABASE mem")


def test_r12_a_memory_table_that_became_permanent_strands_the_base(
    primary: MySqlPrimary, endpoint: Endpoint, node: MySqlServer
) -> None:
    at_primary(primary, endpoint, node)
    primary.execute(*memory_tables.BEFORE)
    with flavor.connect(endpoint) as reader, node.connect() as conn:
        catch_up(flavor, conn, endpoint, flavor.primary_position(reader))
        primary.execute("ALTER TABLE mem.cache ENGINE=InnoDB")
        with pytest.raises(NotReplayable, match=r"mem\.cache"):
            catch_up(flavor, conn, endpoint, flavor.primary_position(reader))
        primary.execute("UPDATE mem.cache SET v = 'y' WHERE id = 1")
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        status = wait(flavor, conn, lambda s: s.error is not None)
        assert isinstance(status.error, NotReplayable)
    primary.execute("DROP DATABASE mem")


def test_a_conflict_names_the_table_and_the_error(
    primary: MySqlPrimary, endpoint: Endpoint, node: MySqlServer
) -> None:
    at_primary(primary, endpoint, node)
    primary.execute("INSERT INTO d.t (id, v) VALUES (777777, 'gone')")
    with flavor.connect(endpoint) as reader:
        goal = flavor.primary_position(reader)
    with node.connect() as conn:
        catch_up(flavor, conn, endpoint, goal)
        run(conn, "DELETE FROM d.t WHERE id = 777777")
        primary.execute("UPDATE d.t SET v = 'changed' WHERE id = 777777")
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        error = wait(flavor, conn, lambda s: s.error is not None).error
    assert isinstance(error, ReplayConflict)
    assert error.evidence["error"] == 1032
    assert error.evidence["table"] == "d.t"


def test_purged_logs_are_told_from_a_wrong_password(
    primary: MySqlPrimary, endpoint: Endpoint, node: MySqlServer
) -> None:
    at_primary(primary, endpoint, node)
    wrong = Endpoint(host="127.0.0.1", port=primary.port, user="restore_replay", password="wrong-pw-1")
    with node.connect() as conn:
        flavor.start_replication(conn, wrong, until=None, appliers=1)
        error = wait(flavor, conn, lambda s: s.error is not None).error
        assert isinstance(error, ReplicationDenied)
        flavor.stop_replication(conn)
        primary.execute(
            "CREATE USER no_repl@'%' IDENTIFIED BY 'no-repl-pw'", "GRANT SELECT ON *.* TO no_repl@'%'"
        )
        bare = Endpoint(host="127.0.0.1", port=primary.port, user="no_repl", password="no-repl-pw")
        flavor.start_replication(conn, bare, until=None, appliers=1)
        error = wait(flavor, conn, lambda s: s.error is not None).error
        assert isinstance(error, ReplicationDenied)
        assert "REPLICATION SLAVE" in error.hint
        flavor.stop_replication(conn)
        primary.execute("INSERT INTO d.t (v) VALUES ('lost')", "FLUSH BINARY LOGS")
        primary.execute(f"PURGE BINARY LOGS TO '{primary.execute('SHOW BINARY LOGS')[-1][0]}'")
        flavor.start_replication(conn, endpoint, until=None, appliers=1)
        error = wait(flavor, conn, lambda s: s.error is not None).error
    assert isinstance(error, BinlogPurged)
