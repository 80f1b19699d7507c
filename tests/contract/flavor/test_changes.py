"""Statements and rows that binary log files have, against what the server did and what its own program prints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_restore_replay.core.flavor.changes.reader import Reader
from airflow_restore_replay.core.flavor.changes.statements import Parsed
from airflow_restore_replay.core.flavor.changes.transaction import Transaction
from airflow_restore_replay.core.flavor.log_file import LogDamaged
from airflow_restore_replay.core.flavor.registry import get_flavor
from tests.support.flavors import KITS
from tests.support.logged import Logged, total
from tests.support.unpacked import without

_COMPRESSED = {
    "mariadb": ("SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress_min_len = 10"),
    "mysql": ("SET GLOBAL binlog_transaction_compression = ON",),
}
_UNCOMPRESSED = {
    "mariadb": ("SET GLOBAL log_bin_compress = OFF",),
    "mysql": ("SET GLOBAL binlog_transaction_compression = OFF",),
}


@pytest.fixture(scope="module", params=("mariadb", "mariadb-11.8", "mariadb-10.5", "mysql"))
def logged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    if without(request.param):
        pytest.skip(f"RR_WITHOUT={request.param}")
    primary = KITS[request.param].primary.start(tmp_path_factory.mktemp("logged") / "primary")
    primary.execute("CREATE DATABASE w")
    yield Logged(primary)
    primary.discard()


@pytest.fixture(scope="module")
def log(logged: Logged) -> Any:
    return get_flavor(logged.primary.flavor).log


def read(data: bytes, *, part_bytes: int = 2**24) -> list[Transaction]:
    parts = (data[at : at + part_bytes] for at in range(0, len(data), part_bytes))
    return list(Reader().transactions(parts))


def rotated(logged: Logged) -> bytes:
    return logged.file(logged.rotate()).read_bytes()


@pytest.mark.parametrize("compressed", [False, True])
def test_rows_are_counted_exactly(logged: Logged, compressed: bool) -> None:
    flavor = logged.primary.flavor
    logged.primary.execute(*(_COMPRESSED if compressed else _UNCOMPRESSED)[flavor])
    logged.primary.execute("DROP DATABASE w", "CREATE DATABASE w")
    logged.rotate()
    logged.rows.clear()
    logged.every_type()
    logged.shapes()
    name = logged.rotate()
    data = logged.file(name).read_bytes()
    found = read(data)
    assert total(found) == logged.rows
    assert all(transaction.whole for transaction in found)
    for part_bytes in (1000, 99_991):
        assert total(read(data, part_bytes=part_bytes)) == logged.rows
    logged.primary.execute(*_UNCOMPRESSED[flavor])


def test_rows_are_those_that_the_servers_program_prints(logged: Logged) -> None:
    logged.primary.execute("DROP DATABASE w", "CREATE DATABASE w")
    logged.rotate()
    logged.shapes()
    name = logged.rotate()
    assert total(read(logged.file(name).read_bytes())) == logged.printed(logged.file(name))


@pytest.mark.parametrize("compressed", [False, True])
def test_large_events_are_counted_part_by_part(
    logged: Logged, compressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here every event counts as large, and arrives in small parts."""
    logged.primary.execute(*(_COMPRESSED if compressed else _UNCOMPRESSED)[logged.primary.flavor])
    logged.primary.execute("DROP DATABASE w", "CREATE DATABASE w")
    logged.rotate()
    logged.rows.clear()
    logged.every_type()
    data = rotated(logged)
    small = read(data)
    monkeypatch.setattr("airflow_restore_replay.core.flavor.changes.reader._LARGE_BYTES", 30)
    found = read(data, part_bytes=1500)
    assert total(found) == logged.rows
    assert [(t.begin, t.end, t.statements, t.notes) for t in found] == [
        (t.begin, t.end, t.statements, t.notes) for t in small
    ]
    logged.primary.execute(*_UNCOMPRESSED[logged.primary.flavor])


def test_transactions_have_the_gtids_and_sizes_of_the_log(logged: Logged, log: Any) -> None:
    before = logged.position()
    logged.rotate()
    logged.run("CREATE TABLE IF NOT EXISTS w.g (n INT)", "INSERT INTO w.g VALUES (1)", "DELETE FROM w.g")
    data = rotated(logged)
    found = read(data)
    starts = [log.start_of(transaction.first) for transaction in found]
    parse: Any = get_flavor(logged.primary.flavor).parse_position
    assert parse(before).extended(start.gtid for start in starts) == parse(logged.position())
    assert [found[0].end, found[1].end] == [found[1].begin, found[2].begin]
    assert len(data) - 100 < found[-1].end < len(data)


def test_statements_have_their_session(logged: Logged) -> None:
    """Schema, account, connection, character set and modes, where the server logs them."""
    logged.rotate()
    with logged.primary.connect(charset="latin1") as conn, conn.cursor() as cursor:
        cursor.execute("USE w")
        cursor.execute("SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
        cursor.execute("CREATE TABLE \"größe\" (n INT COMMENT 'ends in \\')")
        cursor.execute("SELECT CONNECTION_ID()")
        ((connection,),) = cursor.fetchall()
    logged.run(
        "CREATE DEFINER = CURRENT_USER PROCEDURE w.p() SELECT 1",
        "CREATE USER u@localhost IDENTIFIED BY 'very-secret'",
        "ALTER USER u@localhost IDENTIFIED BY 'very-secret'",
        "DROP USER u@localhost",
    )
    found = read(rotated(logged))
    table, procedure, user, *_ = [Parsed(statement) for t in found for statement in t.statements]
    assert table.statement.schema == "w"
    assert table.statement.connection == connection
    assert ("w", "größe") in table.names
    assert table.shown(200) == "CREATE TABLE \"größe\" (n INT COMMENT '…')"
    assert procedure.statement.account == "root@localhost"
    assert procedure.words[:2] == ("CREATE", "DEFINER")
    assert (user.words[:2], user.defines) == (("CREATE", "USER"), True)
    shown = [Parsed(statement).shown(500) for t in found for statement in t.statements]
    assert not any("secret" in text or "*" in text or "$A$" in text for text in shown), shown
    assert "localhost" in shown[2]


def test_statements_of_rows_that_the_log_quotes(logged: Logged) -> None:
    mysql = logged.primary.flavor == "mysql"
    logged.rotate()
    logged.run(
        "CREATE TABLE IF NOT EXISTS w.g (n INT)",
        "SET SESSION binlog_rows_query_log_events = ON"
        if mysql
        else "SET SESSION binlog_annotate_row_events = ON",
        "INSERT INTO w.g VALUES (12345)",
    )
    assert b"INSERT INTO w.g VALUES (12345)" in read(rotated(logged))[-1].notes


def test_statement_format(logged: Logged) -> None:
    logged.rotate()
    logged.run(
        "CREATE TABLE IF NOT EXISTS w.g (n INT)",
        "SET SESSION binlog_format = STATEMENT",
        "BEGIN",
        "INSERT INTO w.g VALUES (1)",
        "UPDATE w.g SET n = 2",
        "COMMIT",
    )
    last = read(rotated(logged))[-1]
    assert [statement.text for statement in last.statements] == [
        "INSERT INTO w.g VALUES (1)",
        "UPDATE w.g SET n = 2",
    ]
    assert (last.rows, last.whole) == ({}, True)


def test_xa_transactions_are_prepared_and_decided(logged: Logged) -> None:
    logged.run("CREATE TABLE IF NOT EXISTS w.g (n INT) ENGINE=InnoDB")
    logged.rotate()
    logged.run("XA START 'one','b'", "INSERT INTO w.g VALUES (1)", "XA END 'one','b'", "XA PREPARE 'one','b'")
    with logged.primary.connect() as conn, conn.cursor() as cursor:
        for statement in ("XA START 'two'", "INSERT INTO w.g VALUES (2)", "XA END 'two'", "XA PREPARE 'two'"):
            cursor.execute(statement)
    with logged.primary.connect() as conn, conn.cursor() as cursor:
        for statement in ("XA COMMIT 'one','b'", "XA ROLLBACK 'two'"):
            cursor.execute(statement)
    logged.run(
        "XA START 'three'", "INSERT INTO w.g VALUES (3)", "XA END 'three'", "XA COMMIT 'three' ONE PHASE"
    )
    found = [t for t in read(rotated(logged)) if t.rows or t.decides]
    if logged.primary.flavor == "mariadb" and logged.primary.execute("SELECT VERSION()")[0][0] < "10.6":
        return
    one, two, commit, rollback, three = found
    assert (one.prepared, two.prepared) == ("X'6f6e65',X'62',1", "X'74776f',X'',1")
    assert (commit.decides, commit.rolled_back) == (one.prepared, False)
    assert (rollback.decides, rollback.rolled_back) == (two.prepared, True)
    assert (three.prepared, three.decides) == ("", "")
    assert all(t.whole for t in found)
    assert not any(t.statements for t in found)


def test_a_rollback_at_the_end_is_said(logged: Logged) -> None:
    """Rows of a table that cannot roll back stay."""
    logged.run(
        "CREATE TABLE IF NOT EXISTS w.m (n INT) ENGINE=MyISAM",
        "CREATE TABLE IF NOT EXISTS w.i (n INT) ENGINE=InnoDB",
    )
    logged.rotate()
    mysql = logged.primary.flavor == "mysql"
    with suppress(Exception):
        logged.run("BEGIN", "INSERT INTO w.i VALUES (1)", "INSERT INTO w.m VALUES (1)", "ROLLBACK")
    found = read(rotated(logged))
    rows = [t.rows for t in found]
    assert {table for each in rows for table in each} <= {("w", "m"), ("w", "i")}
    assert all(t.whole for t in found)
    assert mysql or ("w", "m") in rows[0]


def test_an_incomplete_transaction_is_said(logged: Logged) -> None:
    logged.run("CREATE TABLE IF NOT EXISTS w.g (n INT)")
    logged.rotate()
    logged.run("BEGIN", "INSERT INTO w.g VALUES (1)", "INSERT INTO w.g VALUES (2)", "COMMIT")
    data = rotated(logged)
    ends = [t.whole for size in range(len(data)) for t in read(data[:size])[-1:]]
    whole = read(data)[0]
    assert ends[-1] is True
    assert ends.index(True) + 5 > whole.end - len(data) + len(ends)
    assert set(ends[: ends.index(True)]) == {False}


@pytest.fixture(scope="module")
def small(logged: Logged) -> bytes:
    logged.primary.execute("DROP DATABASE w", "CREATE DATABASE w")
    logged.primary.execute(*_COMPRESSED[logged.primary.flavor])
    logged.run("CREATE TABLE w.g (n INT, t TEXT)")
    logged.rotate()
    logged.run("INSERT INTO w.g VALUES (1, REPEAT('x', 1000)), (2, NULL)", "CREATE TABLE w.h (n INT)")
    logged.primary.execute(*_UNCOMPRESSED[logged.primary.flavor])
    logged.run("UPDATE w.g SET n = 3", "DROP TABLE w.h")
    return rotated(logged)


@settings(max_examples=300)
@given(data=st.data())
def test_damage_does_not_crash_or_hang(small: bytes, data: st.DataObject) -> None:
    damaged = bytearray(small)
    for at in data.draw(st.lists(st.integers(4, len(small) - 1), min_size=1, max_size=8)):
        damaged[at] = data.draw(st.integers(0, 255))
    with suppress(LogDamaged):
        read(bytes(damaged), part_bytes=data.draw(st.integers(1, len(small))))
