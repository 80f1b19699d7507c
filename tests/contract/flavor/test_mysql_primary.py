"""What is asked of a MySQL primary: positions, snapshots, its binary log, its tables. One server for all tests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pymysql
import pytest
from hypothesis import HealthCheck, given, settings

from airflow_restore_replay.core.errors import (
    BinlogPurged,
    ErrantFromFormerPrimary,
    ErrantFromNode,
    HistoryDiverged,
    PreflightFailed,
    PrimaryUnreachable,
    ReplicationDenied,
)
from airflow_restore_replay.core.flavor.mysql import binlog, grants, snapshot
from airflow_restore_replay.core.flavor.mysql.flavor import MySqlFlavor
from airflow_restore_replay.core.flavor.mysql.gtid import MySqlPosition
from airflow_restore_replay.core.flavor.sql import rows, run, value
from airflow_restore_replay.core.flavor.values import Endpoint
from tests.support.findings import refusals, warnings
from tests.support.mysql import MySqlPrimary
from tests.support.primary import create_zoo
from tests.unit.flavor.test_mysql_gtid import sets

FORMER = "11111111-2222-3333-4444-555555555555"
NODE = "7265706c-6179-4abc-8def-0123456789ab"

flavor = MySqlFlavor()


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MySqlPrimary]:
    started = MySqlPrimary.start(tmp_path_factory.mktemp("mysql") / "primary")
    started.create_backup_account()
    started.execute(
        "CREATE DATABASE d", "CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50))"
    )
    yield started
    started.stop()


@pytest.fixture
def endpoint(primary: MySqlPrimary) -> Endpoint:
    return primary.endpoint("restore_replay")


def position(primary: MySqlPrimary) -> MySqlPosition:
    with primary.connect() as conn:
        return flavor.primary_position(conn)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=sets, other=sets)
def test_sets_agree_with_the_servers_own_functions(primary: MySqlPrimary, one: object, other: object) -> None:
    a, b = MySqlPosition.of(one), MySqlPosition.of(other)  # type: ignore[arg-type]
    conn = _shared(primary)
    args = (str(b), str(a), str(b), str(a), str(a))
    ((subset, rest, printed),) = rows(
        conn, "SELECT GTID_SUBSET(%s, %s), GTID_SUBTRACT(%s, %s), GTID_SUBTRACT(%s, '')", args
    )
    assert a.contains(b) == bool(subset)
    assert a.missing(b) == MySqlPosition.parse(rest)
    assert str(a) == printed.replace("\n", "")


_connections: dict[int, pymysql.connections.Connection[Any]] = {}


def _shared(primary: MySqlPrimary) -> pymysql.connections.Connection[Any]:
    return _connections.setdefault(primary.port, primary.connect())


def test_the_documented_grants_are_enough_and_each_missing_one_is_named(
    primary: MySqlPrimary, endpoint: Endpoint
) -> None:
    with flavor.connect(endpoint) as conn:
        assert refusals(flavor, conn) == {}
        assert set(warnings(flavor, conn)) == {"sync_binlog"}
    primary.execute(
        "CREATE USER poor@'%' IDENTIFIED BY 'poor-pw'", "GRANT SELECT, PROCESS ON *.* TO poor@'%'"
    )
    poor = Endpoint(host="127.0.0.1", port=primary.port, user="poor", password="poor-pw")
    with flavor.connect(poor) as conn:
        refused = refusals(flavor, conn)
    lacking = [name for name in grants.REQUIRED if name not in ("SELECT", "PROCESS")]
    assert {name: finding.fix for name, finding in refused.items()} == {
        f"grant {name}": f"GRANT {name} ON *.* TO 'poor'@'%';" for name in lacking
    }
    primary.execute(*(finding.fix for finding in refused.values()))
    with flavor.connect(poor) as conn:
        assert refusals(flavor, conn) == {}
    primary.execute(f"ALTER USER poor@'%' IDENTIFIED BY '{'p' * 33}'")
    with flavor.connect(msgspec.structs.replace(poor, password="p" * 33)) as conn:
        assert "33 bytes" in refusals(flavor, conn)["password"].observed


def test_who_cannot_get_in_is_told_why(primary: MySqlPrimary) -> None:
    with pytest.raises(ReplicationDenied, match="Access denied") as denied:
        flavor.connect(Endpoint(host="127.0.0.1", port=primary.port, user="restore_replay", password="wrong"))
    assert "wrong" not in str(denied.value)
    with pytest.raises(PrimaryUnreachable):
        flavor.connect(Endpoint(host="127.0.0.1", port=1, user="x"))


def test_the_connection_is_encrypted(endpoint: Endpoint) -> None:
    with flavor.connect(endpoint) as conn:
        assert dict(rows(conn, "SHOW SESSION STATUS LIKE 'Ssl_cipher'"))["Ssl_cipher"]


def test_a_ca_that_did_not_sign_is_refused(primary: MySqlPrimary, endpoint: Endpoint, tmp_path: Path) -> None:
    other = tmp_path / "ca.pem"
    other.write_text(
        Path("/etc/ssl/certs/ca-certificates.crt").read_text()[:20000].rpartition("-----BEGIN")[0]
    )
    unverified = Endpoint(
        **{f: getattr(endpoint, f) for f in ("host", "port", "user", "password")}, ssl_ca=str(other)
    )
    with pytest.raises(PrimaryUnreachable, match="(?i)certificate"):
        flavor.connect(unverified)


# --- snapshots ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def inserting(primary: MySqlPrimary, pause_s: float) -> Iterator[None]:
    """One row per transaction, and nothing else: the number of rows tells the position."""
    stop = threading.Event()

    def insert() -> None:
        with primary.connect() as conn, conn.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("INSERT INTO d.counted () VALUES ()")
                stop.wait(pause_s)

    threads = [threading.Thread(target=insert) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("takes_away", "pause_s", "method"),
    [
        ("", 0.05, "log_status"),
        ("BACKUP_ADMIN", 0.0, "FLUSH TABLES WITH READ LOCK"),
        ("BACKUP_ADMIN, FLUSH_TABLES", 0.0, "LOCK TABLES"),
    ],
)
def test_a_snapshots_position_is_exact(
    primary: MySqlPrimary, takes_away: str, pause_s: float, method: str
) -> None:
    user = f"snap{len(takes_away)}"
    account = primary.create_backup_account(user)
    if takes_away:
        primary.execute(f"REVOKE {takes_away} ON *.* FROM {user}@'%'")
    primary.execute(
        "DROP TABLE IF EXISTS d.counted", "CREATE TABLE d.counted (id INT AUTO_INCREMENT PRIMARY KEY)"
    )
    base = position(primary).count
    with inserting(primary, pause_s):
        for _ in range(25):
            with flavor.connect(account) as conn:
                opened = flavor.open_snapshot(account, conn)
                assert opened.method == method
                assert (opened.locked_s > 0) == (method != "log_status")
                assert opened.locked_s < 5
                assert value(conn, "SELECT COUNT(*) FROM d.counted") == opened.position.count - base  # type: ignore[attr-defined]


def test_a_busy_primary_is_held_for_moments_only(primary: MySqlPrimary, endpoint: Endpoint) -> None:
    primary.execute(
        "DROP TABLE IF EXISTS d.counted", "CREATE TABLE d.counted (id INT AUTO_INCREMENT PRIMARY KEY)"
    )
    with inserting(primary, 0.0), flavor.connect(endpoint) as conn:
        opened = flavor.open_snapshot(endpoint, conn)
    assert opened.method in ("FLUSH TABLES WITH READ LOCK", "log_status")
    assert opened.locked_s < 2


# --- the binary log -------------------------------------------------------------------------------------------


def test_reads_what_the_server_says_it_wrote(primary: MySqlPrimary, endpoint: Endpoint) -> None:
    primary.execute(
        "FLUSH BINARY LOGS",
        "INSERT INTO d.t (v) VALUES ('plain')",
        "SET gtid_next = 'AUTOMATIC:audit_2'",
        "INSERT INTO d.t (v) VALUES ('tagged')",
        "INSERT INTO d.t (v) VALUES ('tagged again')",
    )
    file = str(primary.execute("SHOW BINARY LOGS")[-1][0])
    shown = [
        row[5].split("'")[1]
        for row in primary.execute(f"SHOW BINLOG EVENTS IN '{file}'")
        if "GTID_NEXT" in row[5]
    ]
    read = list(binlog.transactions(endpoint, file))
    assert [str(start.gtid) for start in read] == shown
    assert sum(":audit_2:" in gtid for gtid in shown) == 2
    with flavor.connect(endpoint) as conn:
        now = flavor.clock(conn).timestamp()
    assert all(0 <= now - start.committed_s < 60 for start in read)
    assert [s.committed_s for s in read] == sorted(s.committed_s for s in read)


def test_a_moment_is_a_place_in_the_log(primary: MySqlPrimary, endpoint: Endpoint) -> None:
    start = position(primary)
    primary.execute("INSERT INTO d.t (v) VALUES ('before')", "FLUSH BINARY LOGS")
    with flavor.connect(endpoint) as conn:
        value(conn, "SELECT SLEEP(0.3)")
        moment = flavor.clock(conn)
        expected = flavor.primary_position(conn)
        value(conn, "SELECT SLEEP(0.3)")
    # A session's own idea of the time does not move it.
    primary.execute("SET timestamp = 1000000000", "INSERT INTO d.t (v) VALUES ('after')")
    cut = flavor.cut_before(endpoint, moment, start)
    assert str(cut.position) == str(expected)
    assert cut.next_stamped is not None
    assert cut.next_stamped - moment < timedelta(seconds=5)
    end = flavor.cut_before(endpoint, moment + timedelta(days=1), start)
    assert str(end.position) == str(position(primary))
    assert end.next_gtid == ""
    with pytest.raises(PreflightFailed, match="beyond"):
        flavor.cut_before(endpoint, moment, position(primary))


def test_a_base_that_the_log_continues_is_accepted(primary: MySqlPrimary, endpoint: Endpoint) -> None:
    primary.execute("SET gtid_next = 'AUTOMATIC:nightly'", "INSERT INTO d.t (v) VALUES ('x')")
    base = position(primary)
    stamps = flavor.last_events(endpoint, base)
    assert {s.domain for s in stamps} == {str(source) for source in base.by_source}
    primary.execute("FLUSH BINARY LOGS", "INSERT INTO d.t (v) VALUES ('later')")
    flavor.check_history(endpoint, base, stamps)
    # The hint is only a hint.
    assert flavor.last_events(endpoint, base, stamps) == stamps


@pytest.mark.parametrize(
    ("foreign", "kind"), [(FORMER, ErrantFromFormerPrimary), (NODE, ErrantFromNode), ("", HistoryDiverged)]
)
def test_a_base_with_transactions_that_the_primary_lacks(
    primary: MySqlPrimary, endpoint: Endpoint, foreign: str, kind: type[Exception]
) -> None:
    base = position(primary)
    uuid = foreign or str(primary.execute("SELECT @@server_uuid")[0][0])
    beyond = MySqlPosition.parse(f"{uuid}:100000-100005")
    with pytest.raises(kind, match="100000-100005"):
        flavor.check_history(endpoint, base.union(beyond), [])


def test_another_transaction_under_the_same_gtid(primary: MySqlPrimary, endpoint: Endpoint) -> None:
    base = position(primary)
    stamps = flavor.last_events(endpoint, base)
    other = [msgspec.structs.replace(s, digest="0" * 64) for s in stamps]
    with pytest.raises(HistoryDiverged, match="rewound"):
        flavor.check_history(endpoint, base, other)


def test_purged_logs_strand_a_base(primary: MySqlPrimary, endpoint: Endpoint) -> None:
    base = position(primary)
    primary.execute("INSERT INTO d.t (v) VALUES ('lost')", "FLUSH BINARY LOGS")
    last = str(primary.execute("SHOW BINARY LOGS")[-1][0])
    primary.execute(f"PURGE BINARY LOGS TO '{last}'")
    with pytest.raises(BinlogPurged, match="no longer"):
        flavor.check_history(endpoint, base, [])
    with flavor.connect(endpoint) as conn, pytest.raises(BinlogPurged, match="purged"):
        flavor.cut_before(endpoint, flavor.clock(conn), base)
    # What comes right before the oldest file is enough.
    with flavor.connect(endpoint) as conn:
        flavor.check_history(endpoint, binlog.before(conn, last), [])


# --- tables and values ----------------------------------------------------------------------------------------


@pytest.fixture
def zoo(primary: MySqlPrimary) -> Iterator[None]:
    with primary.connect() as conn:
        create_zoo(conn, MySqlPrimary.zoo)
    yield
    # Tests run in any order, and others count the warnings that these tables give.
    primary.execute(
        "DROP DATABASE zoo",
        "DROP DATABASE `odd ``name`",
        "DROP TABLESPACE zoospace",
        "DROP ROLE zookeeper",
        "DROP USER 'visitor'@'%'",
        "DROP TABLE IF EXISTS d.isam, d.mem, d.arch",
    )


@pytest.mark.usefixtures("zoo")
def test_the_zoo_is_listed(primary: MySqlPrimary, endpoint: Endpoint) -> None:
    primary.execute(
        "CREATE TABLE d.isam (id INT) ENGINE=MyISAM",
        "CREATE TABLE d.mem (id INT) ENGINE=MEMORY",
        "CREATE TABLE d.arch (id INT) ENGINE=ARCHIVE",
    )
    with flavor.connect(endpoint) as conn:
        listed = {t.qualified: t for t in flavor.tables(conn)}
        assert {"zoo.plain", "zoo.parted", "zoo.general", "`odd ``name`.`ta'ble $(id)`"} <= set(listed)
        assert not listed["d.isam"].mvcc
        assert listed["zoo.plain"].mvcc
        assert set(flavor.uncompared(conn)) == {"d.isam", "d.mem", "d.arch"}
        assert flavor.unsupported_tables(conn) == {}
        assert flavor.event_states(conn) == {"zoo.tick": "ENABLED", "zoo.tock": "DISABLED"}
        warned = warnings(flavor, conn)
        assert "d.mem" in warned["memory_tables"].observed
        assert warned["float_columns"].fix.endswith("validate.exclude: zoo.plain.")


def test_what_lies_elsewhere_is_refused_by_name(tmp_path: Path, primary: MySqlPrimary) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    other = MySqlPrimary.start(tmp_path / "other", server_id=2, options=[f"--innodb-directories={outside}"])
    try:
        other.execute(
            "CREATE DATABASE d",
            f"CREATE TABLE d.away (id INT) DATA DIRECTORY='{outside}'",
            f"CREATE TABLE d.parted (id INT) PARTITION BY HASH (id) (PARTITION p0 DATA DIRECTORY='{outside}')",
            "CREATE TABLE d.here (id INT)",
        )
        with other.connect() as conn:
            assert set(flavor.unsupported_tables(conn)) == {"d.away", "d.parted"}
            assert "d.away" in refusals(flavor, conn)["tables"].observed
            assert not flavor.same_server(flavor.identity(conn), flavor.identity(_shared(primary)))
    finally:
        other.stop()


@pytest.mark.usefixtures("zoo")
def test_equal_values_have_equal_bytes_and_others_not(endpoint: Endpoint) -> None:
    with flavor.connect(endpoint) as conn:
        columns = rows(
            conn,
            "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='zoo'"
            " AND TABLE_NAME='plain' ORDER BY ORDINAL_POSITION",
        )
        assert len(columns) == 17
        for name, column_type in columns:
            text = flavor.canonical_text(str(column_type), f"`{name}`")
            found = rows(conn, f"SELECT {text} FROM zoo.plain ORDER BY id")
            again = rows(conn, f"SELECT {text} FROM zoo.plain ORDER BY id")
            assert found == again
            assert found[0] != found[1], name
        digest = flavor.row_digest("CONCAT('a', 'b')")
        assert len(str(value(conn, f"SELECT {digest}"))) == 32


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (["--skip-log-bin"], "log_bin"),
        (["--gtid-mode=OFF_PERMISSIVE"], "gtid_mode"),
        (["--binlog-do-db=d"], "binlog_do_db"),
        (["--server-id=3900000007"], "server_id"),
        (["--binlog-order-commits=OFF"], "binlog_order_commits"),
    ],
)
def test_a_primary_that_cannot_be_replayed_from_is_refused(
    refusing: MySqlPrimary, option: list[str], name: str
) -> None:
    before = list(refusing.options)
    refusing.restart(options=option)
    try:
        with flavor.connect(refusing.endpoint("restore_replay")) as conn:
            assert name in refusals(flavor, conn)
    finally:
        refusing.options = before


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MySqlPrimary]:
    started = MySqlPrimary.start(tmp_path_factory.mktemp("refusing") / "primary")
    started.create_backup_account()
    yield started
    started.stop()


def test_xa_is_seen_by_who_may(primary: MySqlPrimary, endpoint: Endpoint) -> None:
    tools = flavor.dump_tools()
    with primary.connect() as writer:
        run(writer, "XA START 'x'")
        run(writer, "INSERT INTO d.t (v) VALUES ('xa')")
        run(writer, "XA END 'x'")
        run(writer, "XA PREPARE 'x'")
        with flavor.connect(endpoint) as conn:
            assert tools.prepared(conn) == 1
        managed = primary.create_backup_account("managed")
        primary.execute(f"REVOKE {', '.join(grants.OPTIONAL)} ON *.* FROM managed@'%'")
        with flavor.connect(managed) as conn:
            assert tools.prepared(conn) == -1
            assert not snapshot.may_read_log_status(conn)
        run(writer, "XA ROLLBACK 'x'")
