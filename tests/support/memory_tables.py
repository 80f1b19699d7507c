"""MEMORY tables of a primary, and what may happen to them between two replications."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.sql import rows, value
from airflow_restore_replay.core.flavor.values import Conn

SCHEMA = "mem"

BEFORE = (
    f"DROP DATABASE IF EXISTS {SCHEMA}",
    f"CREATE DATABASE {SCHEMA}",
    "CREATE TABLE mem.cache (id INT PRIMARY KEY, v VARCHAR(255), KEY (v) USING BTREE) ENGINE=MEMORY MIN_ROWS=7 "
    "COMMENT='sessions'",
    "CREATE TABLE mem.no_key (a INT, b VARCHAR(20)) ENGINE=MEMORY",
    "CREATE TABLE mem.gone (id INT PRIMARY KEY) ENGINE=MEMORY",
    "CREATE TABLE mem.kept (id INT PRIMARY KEY)",
    # As a pattern of a replication filter, each of these names matches the table after it.
    "CREATE TABLE mem.`cust,mers` (id INT PRIMARY KEY) ENGINE=MEMORY",
    "CREATE TABLE mem.customers (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE mem.`or_ers%` (id INT PRIMARY KEY) ENGINE=MEMORY",
    "CREATE TABLE mem.orders1 (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE mem.`o\\'``\"ß日` (id INT PRIMARY KEY) ENGINE=MEMORY",
    "INSERT INTO mem.cache VALUES (1, 'a'), (2, 'b')",
    "INSERT INTO mem.no_key VALUES (1, 'a'), (2, NULL), (1, 'a')",
    "INSERT INTO mem.`cust,mers` VALUES (1)",
    "INSERT INTO mem.`or_ers%` VALUES (1)",
    "INSERT INTO mem.`o\\'``\"ß日` VALUES (1)",
)
#: rows that the node has lost, and DDL; the drop and the renaming are each of a MEMORY table and another one
AFTER = (
    "UPDATE mem.cache SET v = 'x' WHERE id = 1",
    "UPDATE mem.no_key SET b = 'x' WHERE a = 1",
    "DELETE FROM mem.no_key WHERE b IS NULL",
    "DELETE FROM mem.`cust,mers`",
    "UPDATE mem.`or_ers%` SET id = 5",
    "UPDATE mem.`o\\'``\"ß日` SET id = 5",
    "INSERT INTO mem.customers VALUES (1, 1), (2, 2)",
    "INSERT INTO mem.orders1 VALUES (1, 1)",
    "ALTER TABLE mem.cache ADD COLUMN w INT NOT NULL DEFAULT 3",
    "UPDATE mem.cache SET w = 4",
    "DROP TABLE mem.gone, mem.kept",
    "CREATE TABLE mem.kept (id BIGINT PRIMARY KEY)",
    "INSERT INTO mem.kept VALUES (7)",
    "RENAME TABLE mem.no_key TO mem.still_none, mem.orders1 TO mem.orders",
    "CREATE TABLE mem.alike LIKE mem.cache",
    "INSERT INTO mem.alike VALUES (1, 'a', 1)",
    "UPDATE mem.alike SET v = 'b'",
    "DELETE FROM mem.still_none WHERE a = 1",
    "CREATE TABLE mem.young (id INT PRIMARY KEY) ENGINE=MEMORY",
    "INSERT INTO mem.young VALUES (1)",
    "DELETE FROM mem.young",
)
#: after a restart, which empties the tables and logs that as a statement
LATER = (
    "INSERT INTO mem.cache VALUES (1, 'a', 1)",
    "UPDATE mem.cache SET v = 'b'",
    "INSERT INTO mem.young VALUES (1)",
    "UPDATE mem.young SET id = 2",
)


def assert_same(primary: Conn, node: Conn) -> None:
    """The node has all tables as the primary has them, and their rows except those of MEMORY tables."""
    query = (
        f"SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{SCHEMA}' ORDER BY 1"
    )
    names = rows(primary, query)
    assert rows(node, query) == names
    for name, engine in names:
        quoted = f"{SCHEMA}.`{name.replace('`', '``')}`"
        assert rows(node, f"SHOW CREATE TABLE {quoted}") == rows(primary, f"SHOW CREATE TABLE {quoted}")
        ours = value(node, f"SELECT COUNT(*) FROM {quoted}")
        assert ours == (0 if engine == "MEMORY" else value(primary, f"SELECT COUNT(*) FROM {quoted}")), name
