"""Names that a server permits, and that break whoever joins, splits or quotes them carelessly."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.quoting import identifier

HOSTILE = (
    "www.example.org",
    "back`tick``",
    "quo'te\"s",
    "sl/ash",
    "hash#p#part",
    "per%cent%s",
    "tab\tline\n\x01",
    "é" * 64,
    "select",
    "back\\slash",
    "semi;-- x",
    " leading",
    "@at@0023$",
    "*",
    "--tab=x",
)


def statements(names: tuple[str, ...] = HOSTILE) -> list[str]:
    """:returns: SQL of one of every object under hostile names, each in a schema with another one."""
    made = []
    for place, schema in enumerate(names):
        table, view, event, routine = (identifier(names[(place + n) % len(names)]) for n in range(1, 5))
        inside = identifier(schema)
        # A server removes the leading space of a column when it reads the text of a view.
        column = identifier(names[(place + 3) % len(names)].strip())
        made += [
            f"CREATE DATABASE {inside}",
            f"CREATE TABLE {inside}.{table} (id INT PRIMARY KEY, {column} INT)",
            f"INSERT INTO {inside}.{table} VALUES (1, 1), (2, 2)",
            f"CREATE TABLE {inside}.{event} (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2",
            f"INSERT INTO {inside}.{event} VALUES (1)",
            f"CREATE VIEW {inside}.{view} AS SELECT * FROM {inside}.{table}",
            f"CREATE FUNCTION {inside}.{routine} (a INT) RETURNS INT DETERMINISTIC RETURN a + 1",
            f"CREATE TRIGGER {inside}.{view} BEFORE INSERT ON {inside}.{table} FOR EACH ROW SET NEW.id = NEW.id",
            f"CREATE EVENT {inside}.{event} ON SCHEDULE EVERY 1 DAY DO DELETE FROM {inside}.{table} WHERE id < 0",
        ]
    # Joined with a point, these are the same.
    made += ["CREATE DATABASE x", "CREATE DATABASE `x.y`"]
    made += ["CREATE TABLE x.`y.z` (id INT PRIMARY KEY)", "CREATE TABLE `x.y`.z (id INT PRIMARY KEY)"]
    return made


def changes(names: tuple[str, ...] = HOSTILE) -> list[str]:
    """:returns: SQL of changes in what :func:`statements` makes."""
    tables = [(identifier(s), identifier(names[(n + 1) % len(names)])) for n, s in enumerate(names)]
    return [f"INSERT INTO {schema}.{table} VALUES (3, 3)" for schema, table in tables]
