"""Definitions of what holds rows (schemas, tables, sequences), by a few queries for a whole server."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_restore_replay.core.flavor.dropped import row_of, unless_dropped
from airflow_restore_replay.core.flavor.quoting import NO_SCHEMA, joined, qualified
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, dicts, rows
from airflow_restore_replay.core.flavor.values import Conn

#: kinds of objects whose rows are lost, or differ, if a node has another definition than the primary
KINDS = ("schema", "table", "sequence")
#: parts of a table that no row depends on
COSMETIC = ("row format", "options", "comment")
#: keys of these types have options that only SHOW CREATE TABLE shows: the parser, the kind of distance
_SHOWN_KEYS = ("FULLTEXT", "VECTOR")
_SEQUENCE = ("MINIMUM_VALUE", "MAXIMUM_VALUE", "START_VALUE", "INCREMENT", "CACHE_SIZE", "CYCLE_OPTION")
_OLD_FORMAT = re.compile(r" ?/\* (mariadb|mysql)-[\d.]+ \*/")
#: options that a copy spells out although they are the default, or that mark a table which is set aside
_NO_OPTIONS = {
    "Aria": re.compile(r"\bpage_checksum=1 ?", re.I),
    "MEMORY": re.compile(r"\bmin_rows=\d+ ?", re.I),
}
_UTF8 = re.compile(r"\butf8(?=_|$)")

#: object, parts of its definition, and their values
Found = dict[str, dict[str, list[tuple[Any, ...]]]]


@dataclass(frozen=True)
class Part:
    """A query for parts of all tables: schema, table, name of the part, what must be equal, and last a comment."""

    kind: str
    sql: str


def of_tables(columns: str, source: str, *, schema: str = "TABLE_SCHEMA", where: str = "TRUE") -> str:
    """Return the SQL of a :class:`Part` without the system's schemas."""
    return f"SELECT {columns} FROM {source} WHERE {schema} NOT IN {SYSTEM_SCHEMAS} AND {where}"


def columns(more: str = "") -> Part:
    """:param more: columns that only this flavor has."""
    names = (
        "TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT,"
        f" CHARACTER_SET_NAME, COLLATION_NAME, EXTRA, GENERATION_EXPRESSION{more}, COLUMN_COMMENT"
    )
    return Part("column", of_tables(names, "information_schema.COLUMNS"))


def keys(more: str = "") -> Part:
    """:param more: columns that only this flavor or release has."""
    names = (
        "TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, NON_UNIQUE, COLUMN_NAME, COLLATION, SUB_PART,"
        f" INDEX_TYPE{more}, INDEX_COMMENT"
    )
    return Part("key", of_tables(names, "information_schema.STATISTICS"))


FOREIGN_KEYS = (
    Part(
        "foreign key",
        of_tables(
            "TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION, COLUMN_NAME, REFERENCED_TABLE_SCHEMA,"
            " REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME, ''",
            "information_schema.KEY_COLUMN_USAGE",
            where="REFERENCED_TABLE_NAME IS NOT NULL",
        ),
    ),
    Part(
        "foreign key",
        of_tables(
            "CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, MATCH_OPTION, UPDATE_RULE, DELETE_RULE, ''",
            "information_schema.REFERENTIAL_CONSTRAINTS",
            schema="CONSTRAINT_SCHEMA",
        ),
    ),
)
# History partitions by time come into being by themselves, on each server when it writes to the table.
_PARTITIONS = Part(
    "partition",
    of_tables(
        "TABLE_SCHEMA, TABLE_NAME, PARTITION_NAME, SUBPARTITION_NAME, PARTITION_ORDINAL_POSITION,"
        " SUBPARTITION_ORDINAL_POSITION, PARTITION_METHOD, SUBPARTITION_METHOD, PARTITION_EXPRESSION,"
        " SUBPARTITION_EXPRESSION, PARTITION_DESCRIPTION, PARTITION_COMMENT",
        "information_schema.PARTITIONS",
        where="PARTITION_NAME IS NOT NULL AND PARTITION_METHOD <> 'SYSTEM_TIME'",
    ),
)


def read(conn: Conn, parts: Sequence[Part]) -> Found:
    """Read the definitions of all schemas, tables and sequences of users.

    :param parts: of this flavor.
    """
    found: Found = defaultdict(lambda: defaultdict(list))
    _add_schemas(conn, found)
    listed = list(_tables(conn))
    tables = {(t["TABLE_SCHEMA"], t["TABLE_NAME"]) for t in listed if t["TABLE_TYPE"] != "SEQUENCE"}
    for table in listed:
        if table["TABLE_TYPE"] == "SEQUENCE":
            _add_sequence(conn, found, table["TABLE_SCHEMA"], table["TABLE_NAME"])
        else:
            _add_table(found, table)
    if any("partitioned" in str(t["CREATE_OPTIONS"]).lower() for t in listed):
        parts = [*parts, _PARTITIONS]
    shown = {table for part in parts for table in _add_parts(conn, found, part, tables)}
    for schema, name in sorted(shown):
        _add_shown_keys(conn, found[f"table {joined(schema, name)}"], schema, name)
    return found


def _add_schemas(conn: Conn, found: Found) -> None:
    for schema in dicts(conn, of_tables("*", "information_schema.SCHEMATA", schema="SCHEMA_NAME")):
        if not (name := str(schema["SCHEMA_NAME"])).startswith(NO_SCHEMA):
            defined = found[f"schema {name}"]
            defined["collation"].append((_text(schema["DEFAULT_COLLATION_NAME"]),))
            defined["comment"].append((schema.get("SCHEMA_COMMENT") or "",))


def _add_parts(
    conn: Conn, found: Found, part: Part, tables: Collection[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Read one part of all tables, and yield those of which more must be asked."""
    for schema, name, what, *values, comment in rows(conn, part.sql):
        if (schema, name) not in tables:
            continue  # a view has columns, too
        defined = found[f"table {joined(schema, name)}"]
        defined[f"{part.kind} {what}"].append(tuple(map(_text, values)))
        if comment:
            defined[f"comment of {part.kind} {what}"].append((comment,))
        if part.kind == "key" and not {*_SHOWN_KEYS}.isdisjoint(values):
            yield schema, name


def _tables(conn: Conn) -> Iterator[dict[str, Any]]:
    wanted = "TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, ROW_FORMAT, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT"
    kinds = "TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE')"
    yield from dicts(conn, of_tables(wanted, "information_schema.TABLES", where=kinds))


def _add_table(found: Found, table: dict[str, Any]) -> None:
    defined = found[f"table {joined(table['TABLE_SCHEMA'], table['TABLE_NAME'])}"]
    options = str(table["CREATE_OPTIONS"] or "")
    if defaults := _NO_OPTIONS.get(table["ENGINE"]):
        options = defaults.sub("", options)
    defined["engine"].append((table["ENGINE"],))
    defined["versioning"].append((table["TABLE_TYPE"],))
    defined["collation"].append((_text(table["TABLE_COLLATION"]),))
    defined["row format"].append((str(table["ROW_FORMAT"]).lower(),))
    defined["options"].append((options.strip(),))
    defined["comment"].append((table["TABLE_COMMENT"],))


def _add_shown_keys(conn: Conn, defined: dict[str, list[tuple[Any, ...]]], schema: str, name: str) -> None:
    with unless_dropped():
        create = str(row_of(conn, f"SHOW CREATE TABLE {qualified(schema, name)}", name)[1])
        for line in create.splitlines():
            if line.strip().startswith(_SHOWN_KEYS):
                defined[f"shown key {line.split('`')[1]}"].append((line.strip().rstrip(","),))


def _add_sequence(conn: Conn, found: Found, schema: str, name: str) -> None:
    """Read how a sequence counts; where it stands is no definition."""
    with unless_dropped():
        (values,) = dicts(conn, f"SELECT * FROM {qualified(schema, name)}")
        known = {column.upper(): value for column, value in values.items()}
        for column in _SEQUENCE:
            found[f"sequence {joined(schema, name)}"][column.lower().replace("_", " ")].append(
                (known.get(column),)
            )


def _text(value: Any) -> Any:
    """Return a value without what servers of different releases, or files of different age, show differently."""
    return _UTF8.sub("utf8mb3", _OLD_FORMAT.sub("", value)) if isinstance(value, str) else value
