"""Read the objects of a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pymysql

from airflow_restore_replay.core.errors import ReplicationDenied, UnsupportedTables
from airflow_restore_replay.core.flavor.carry.objects import Object, Objects, Rows, Settings
from airflow_restore_replay.core.flavor.carry.raw import return_bytes, text
from airflow_restore_replay.core.flavor.dropped import again_if_dropped, row_of
from airflow_restore_replay.core.flavor.quoting import NO_SCHEMA, identifier, literal, qualified
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn

#: schemas that consist of the server's memory
VIRTUAL = ("information_schema", "performance_schema")
# Source: sort_order_latin1 in strings/ctype-latin1.c of both servers; what it does not list keeps its place.
_UPPER = bytes(range(ord("a"), ord("z") + 1)), bytes(range(ord("A"), ord("Z") + 1))
_ACCENTED = b"AAAA\\[\\CEEEEIIIIDNOOOO]\xd7\xd8UUUYY\xde\xdf"
_LATIN1_SWEDISH_CI = bytes.maketrans(
    _UPPER[0] + bytes(range(0xC0, 0xF7)) + bytes(range(0xF8, 0xFF)),
    _UPPER[1] + _ACCENTED + _ACCENTED[:0x17] + _ACCENTED[0x18:0x1F],
)


@dataclass(frozen=True)
class Rules:
    """What is carried of a server.

    :param foreign: schemas that are not carried.
    :param own_tables: tables of the schema ``mysql`` of which each server has its own.
    :param kept: schemas of the server itself, of which only objects are carried that the node lacks.
    :param table_mode: SQL mode for tables on the node.
    :param roles: query of the names of roles, if a definer without a host is one; empty if it is always an account.
    :param in_rows: table of the schema ``mysql`` whose rows are routines or events → columns that change by themselves.
    """

    foreign: frozenset[str]
    own_tables: frozenset[str]
    in_rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    table_mode: str = ""
    roles: str = ""


def without_rows(objects: Objects, rules: Rules) -> list[str]:
    """Return what a dump of rows leaves out, as its option ``ignore-table`` names it.

    :raises UnsupportedTables: a table has the same name as one of them there, because names contain points, or because
        the programs compare names without regard to case.
    """
    named = [f"mysql.{name}" for name in (*rules.own_tables, *rules.in_rows)]
    named += [f"{made.schema}.{made.name}" for made in (*objects.views, *objects.sequences)]
    carried = {f"{table.schema}.{table.name}" for table in objects.tables if table.schema != "mysql"}
    unreadable = {f"{schema}.{name}" for schema, name in objects.unreadable}
    carried -= unreadable
    left_out = {_compared(name) for name in named}
    if both := sorted(name for name in carried if _compared(name) in left_out):
        raise UnsupportedTables(
            "A dump would leave out the rows of these tables, because its programs take their names for those of views "
            f"or sequences: {both[:20]}.",
            hint="Rename one of both, or use another seed.method. The programs ignore case and some accents, and do "
            "not see which point ends the schema's name.",
        )
    return [*named, *sorted(unreadable)]


def _compared(name: str) -> bytes:
    """Return *name* as the dump programs compare it: its UTF-8 as if that was latin1_swedish_ci (measured)."""
    return name.encode().translate(_LATIN1_SWEDISH_CI)


def read(conn: Conn, rules: Rules) -> Objects:
    """Read all objects; *conn* returns bytes from now on.

    :raises ReplicationDenied: the account may not see the text of an object.
    """
    return again_if_dropped(lambda: _read(conn, rules))


def _read(conn: Conn, rules: Rules) -> Objects:
    return_bytes(conn)
    found = Objects()
    for (raw_name,) in rows(conn, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1"):
        name = text(raw_name)
        if name.startswith(NO_SCHEMA):
            found.left_out[f"directory {name.removeprefix(NO_SCHEMA)}"] = "it is no schema of the server"
        elif name not in rules.foreign:
            shown = row_of(conn, f"SHOW CREATE DATABASE {identifier(name)}", name)[1]
            found.schemas.append(Object("schema", name, "", shown))
    carried = {schema.schema for schema in found.schemas}
    _read_tables(conn, found, carried, rules)
    if not rules.in_rows:
        found.routines = _read_routines(conn, carried)
        found.events = _read_events(conn, carried)
    found.triggers = _read_triggers(conn, carried)
    found.roles = [text(name) for (name,) in rows(conn, rules.roles)] if rules.roles else []
    found.rows = [_read_rows(conn, table, ignored) for table, ignored in rules.in_rows.items()]
    return found


def _read_tables(conn: Conn, found: Objects, carried: set[str], rules: Rules) -> None:
    query = (
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES"
        f" WHERE TABLE_SCHEMA NOT IN ({_list(VIRTUAL)}) ORDER BY 1, 2"
    )
    for raw_schema, raw_name, raw_kind in rows(conn, query):
        schema, name, kind = text(raw_schema), text(raw_name), text(raw_kind)
        if schema not in carried or (schema == "mysql" and name in rules.own_tables):
            continue
        if kind == "SEQUENCE":
            found.sequences.append(_shown(conn, "sequence", schema, name))
            query = f"SELECT next_not_cached_value, cycle_count FROM {qualified(schema, name)}"
            found.next_values[schema, name] = row_of(conn, query, name)[:2]
        elif kind == "VIEW":
            found.views.append(_read_view(conn, schema, name))
        else:
            found.tables.append(_shown(conn, "table", schema, name))


def _shown(conn: Conn, kind: str, schema: str, name: str) -> Object:
    shown = row_of(conn, f"SHOW CREATE {kind.upper()} {qualified(schema, name)}", name)[1]
    return Object(kind, schema, name, shown)


def _read_view(conn: Conn, schema: str, name: str) -> Object:
    try:
        shown = row_of(conn, f"SHOW CREATE VIEW {qualified(schema, name)}", name)
        return Object(
            "view", schema, name, shown[1], Settings(client=text(shown[2]), connection=text(shown[3]))
        )
    except pymysql.err.MySQLError:
        # Who may not execute a function may not be shown a view that calls it.
        return _composed_view(conn, schema, name)


def _composed_view(conn: Conn, schema: str, name: str) -> Object:
    where = f"TABLE_SCHEMA = {literal(schema)} AND TABLE_NAME = {literal(name)}"
    definition, check, definer, security, client, connection = row_of(
        conn,
        "SELECT VIEW_DEFINITION, CHECK_OPTION, DEFINER, SECURITY_TYPE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION"
        f" FROM information_schema.VIEWS WHERE {where}",
        name,
    )
    if not definition:
        raise _hidden(f"view {schema}.{name}", "SHOW VIEW")
    user, _, host = text(definer).rpartition("@")
    head = (
        f"CREATE DEFINER={identifier(user)}@{identifier(host)} SQL SECURITY {text(security)}"
        f" VIEW {qualified(schema, name)} AS "
    )
    tail = b"" if check == b"NONE" else b" WITH " + check + b" CHECK OPTION"
    settings = Settings(client="utf8mb4", connection=text(connection))
    return Object("view", schema, name, head.encode() + definition + tail, settings)


def _read_routines(conn: Conn, carried: set[str]) -> list[Object]:
    query = (
        "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, CREATED, ROUTINE_COMMENT FROM information_schema.ROUTINES"
        " ORDER BY 1, 2, 3"
    )
    made = []
    for raw_schema, raw_name, raw_kind, created, comment in rows(conn, query):
        schema, name, kind = text(raw_schema), text(raw_name), text(raw_kind).lower()
        if schema in carried:
            shown = row_of(conn, f"SHOW CREATE {kind.upper()} {qualified(schema, name)}", name)
            statement = _with_plain_comment(shown[2], comment, shown[1])
            made.append(
                _with_settings(kind, schema, name, shown[1], statement, shown[3:6], created, "SELECT")
            )
    return made


def _read_events(conn: Conn, carried: set[str]) -> list[Object]:
    made = []
    query = (
        "SELECT EVENT_SCHEMA, EVENT_NAME, CREATED, EVENT_COMMENT FROM information_schema.EVENTS ORDER BY 1, 2"
    )
    for raw_schema, raw_name, created, comment in rows(conn, query):
        schema, name = text(raw_schema), text(raw_name)
        if schema in carried:
            shown = row_of(conn, f"SHOW CREATE EVENT {qualified(schema, name)}", name)
            statement = _with_plain_comment(shown[3], comment, shown[1])
            zone = text(shown[2])
            made.append(
                _with_settings("event", schema, name, shown[1], statement, shown[4:7], created, "EVENT", zone)
            )
    return made


def _with_plain_comment(statement: bytes | None, comment: bytes | None, mode: bytes) -> bytes | None:
    """Return *statement* with its comment as the SQL mode wants it: the server shows it with backslashes in any."""
    if not statement or not comment or b"NO_BACKSLASH_ESCAPES" not in mode:
        return statement
    shown = comment
    for plain, escaped in (
        (b"\\", b"\\\\"),
        (b"\0", b"\\0"),
        (b"\n", b"\\n"),
        (b"\r", b"\\r"),
        (b"'", b"''"),
    ):
        shown = shown.replace(plain, escaped)
    wanted = comment.replace(b"'", b"''")
    return statement.replace(b"COMMENT '" + shown + b"'", b"COMMENT '" + wanted + b"'", 1)


def _read_triggers(conn: Conn, carried: set[str]) -> list[Object]:
    query = (
        "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, CREATED FROM information_schema.TRIGGERS"
        " ORDER BY EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER"
    )
    made = []
    for raw_schema, raw_name, created in rows(conn, query):
        schema, name = text(raw_schema), text(raw_name)
        if schema in carried:
            shown = row_of(conn, f"SHOW CREATE TRIGGER {qualified(schema, name)}", name)
            made.append(
                _with_settings("trigger", schema, name, shown[1], shown[2], shown[3:6], created, "TRIGGER")
            )
    return made


def _with_settings(
    kind: str,
    schema: str,
    name: str,
    mode: bytes,
    statement: bytes | None,
    character_sets: Sequence[bytes],
    created: object,
    privilege: str,
    time_zone: str = "",
) -> Object:
    if not statement:
        raise _hidden(f"{kind} {schema}.{name}", privilege)
    client, connection, database = (text(part) for part in character_sets)
    timestamp = str(created.replace(tzinfo=UTC).timestamp()) if isinstance(created, datetime) else ""
    return Object(
        kind,
        schema,
        name,
        statement,
        Settings(text(mode), client, connection, database, time_zone, timestamp),
    )


def _read_rows(conn: Conn, table: str, ignored: tuple[str, ...]) -> Rows:
    with conn.cursor() as cursor:
        cursor.execute(f"SELECT * FROM mysql.{identifier(table)}")
        columns = tuple(_name(column[0]) for column in cursor.description)
        return Rows(table, columns, tuple(cursor.fetchall()), ignored)


def _name(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _hidden(what: str, privilege: str) -> ReplicationDenied:
    return ReplicationDenied(
        f"The account may not see the text of {what}.", hint=f"Grant it {privilege} on every schema."
    )


def _list(names: Sequence[str]) -> str:
    return ", ".join(literal(name) for name in names)
