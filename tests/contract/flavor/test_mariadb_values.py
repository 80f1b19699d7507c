"""Columns as bytes, and what preflight says."""

from __future__ import annotations

import random
import struct

import pytest

from airflow_restore_replay.core.flavor.mariadb.flavor import MariaDbFlavor
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Endpoint
from tests.support.findings import refusals, warnings
from tests.support.mariadb import MariaDbPrimary, create_zoo

_DISTINCT = {
    "float": ["0.1", "0.10000001", "16777216", "16777217e1", "1e-38", "-1e38", "3.4028234e38"],
    "double": ["0.1", "0.10000000000000002", "0.30000000000000004", "0.3", "1e308", "4.9e-324", "-1"],
    "decimal(38,10)": ["1.0000000001", "1.0000000002", "9999999999999999999999999999.9999999999"],
    "bit(64)": ["b'1'", "b'10'", "b'1111111111111111111111111111111111111111111111111111111111111111'"],
    "varchar(20) character set utf8mb4 collate utf8mb4_general_ci": [
        "'a'",
        "'A'",
        "'á'",
        "'a '",
        "''",
        "'😀'",
    ],
    "varchar(20) character set latin1": ["'e'", "'é'", "'E'"],
    "varbinary(20)": ["X'00'", "X'0000'", "X''", "X'ff'"],
    "enum('','a','A2')": ["''", "'a'", "'A2'"],
    "set('x','y')": ["''", "'x'", "'x,y'"],
    "datetime(6)": ["'2024-01-01 00:00:00.000001'", "'2024-01-01 00:00:00.000002'"],
    "timestamp(3)": ["'2024-10-27 00:30:00.001'", "'2024-10-27 01:30:00.001'"],
    "time(2)": ["'-00:00:00.01'", "'00:00:00.01'", "'838:59:59'"],
    "year": ["1901", "2155"],
    "json": ["'{\"a\": 1}'", "'{\"a\":1}'"],
    "point": ["POINT(1,2)", "POINT(2,1)", "POINT(1,2.0000000000000004)"],
    "uuid": ["'123e4567-e89b-12d3-a456-426655440000'", "'123e4567-e89b-12d3-a456-426655440001'"],
    "inet6": ["'::1'", "'::2'", "'::ffff:1.2.3.4'"],
    "bigint unsigned": ["0", "18446744073709551615"],
}


def test_equal_bytes_exactly_for_equal_values(primary: MariaDbPrimary, flavor: MariaDbFlavor) -> None:
    with primary.connect() as conn:
        run(conn, "CREATE DATABASE v")
        for column_type, values in _DISTINCT.items():
            run(conn, f"CREATE OR REPLACE TABLE v.t (c {column_type})")
            text = flavor.canonical_text(column_type, "`c`")
            for value in values:
                run(conn, f"INSERT INTO v.t VALUES ({value}), ({value})")
            found = [row[0] for row in rows(conn, f"SELECT {text} FROM v.t")]
            assert all(isinstance(item, bytes) for item in found), column_type
            assert len(set(found)) == len(values), (column_type, found)
            assert found[::2] == found[1::2], column_type
            run(conn, "INSERT INTO v.t VALUES (NULL)")
            assert rows(conn, f"SELECT {text} FROM v.t WHERE c IS NULL") == [(None,)]


@pytest.mark.parametrize(("column_type", "code"), [("float", "f"), ("double", "d")])
def test_random_floats_keep_every_bit(
    primary: MariaDbPrimary, flavor: MariaDbFlavor, column_type: str, code: str
) -> None:
    dice = random.Random(7)
    size = struct.calcsize(code)
    numbers = {struct.unpack(code, dice.randbytes(size))[0] for _ in range(2000)}
    finite = [n for n in numbers if abs(n) < (3e38 if code == "f" else 1e308)]
    with primary.connect() as conn:
        run(conn, "CREATE DATABASE v")
        run(conn, f"CREATE TABLE v.t (c {column_type})")
        for n in finite:
            run(conn, f"INSERT INTO v.t VALUES ({n!r})")
        text = flavor.canonical_text(column_type, "`c`")
        found = [row[0] for row in rows(conn, f"SELECT {text} FROM v.t")]
    back = [struct.pack(code, float(item)) for item in found]
    assert len(set(found)) == len(finite)
    assert back == [struct.pack(code, n) for n in finite]


def test_the_zoo_is_accepted_and_what_is_not_compared_is_named(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    with primary.connect() as writer, flavor.connect(endpoint) as reader:
        create_zoo(writer)
        assert flavor.unsupported_tables(reader) == {}
        assert set(flavor.uncompared(reader)) == {"zoo.aria", "zoo.myisam", "zoo.numbers"}
        assert refusals(flavor, reader) == {}
        warned = warnings(flavor, reader)
        assert "sync_binlog" in warned
        assert warned["float_columns"].fix.endswith("validate.exclude: zoo.plain.")
        names = [table.qualified for table in flavor.tables(reader)]
    assert "zoo.versioned" in names
    assert "`odd ``name`.`ta'ble $(id)`" in names
    assert "zoo.numbers" not in names
    assert "zoo.seen" not in names


def test_filters_and_a_server_id_of_nodes_are_refused(primary: MariaDbPrimary, flavor: MariaDbFlavor) -> None:
    primary.restart(options=["--binlog-ignore-db=secret", "--server-id=3900000005"])
    with flavor.connect(primary.endpoint()) as conn:
        refused = refusals(flavor, conn)
    assert set(refused) == {"binlog_ignore_db", "server_id"}
    assert "secret" in refused["binlog_ignore_db"].observed


def test_a_primary_without_a_binary_log_is_refused(primary: MariaDbPrimary, flavor: MariaDbFlavor) -> None:
    primary.restart(options=["--skip-log-bin"])
    with flavor.connect(primary.endpoint()) as conn:
        assert "log_bin" in refusals(flavor, conn)
