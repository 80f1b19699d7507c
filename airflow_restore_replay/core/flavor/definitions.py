"""What is defined in a server beside tables, in a shape in which two servers can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pymysql

from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, dicts
from airflow_restore_replay.core.flavor.values import Conn

#: the account may not look: SELECT, SHOW VIEW, EVENT or TRIGGER is lacking there
_DENIED = (1044, 1142, 1143, 1227)
#: columns that hold what passwords could be guessed by: compared, and never recorded
SECRET = frozenset({"authentication_string", "User_attributes"})


@dataclass(frozen=True)
class Source:
    """A table of the server that has one row for each object.

    :param kind: of the objects, for people.
    :param key: columns that name an object.
    :param columns: those that have to be the same; empty is all but *ignored*.
    """

    kind: str
    table: str
    key: Sequence[str]
    columns: Sequence[str] = ()
    ignored: Sequence[str] = ()
    where: str = ""


@dataclass
class Definitions:
    """:param objects: ``view shop.v`` → column → digest of its value; hashes of passwords do not get any further.
    :param hidden: what the account may not see → why.
    """

    objects: dict[str, Mapping[str, str]] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)

    def recorded(self) -> dict[str, str]:
        """:returns: what a manifest keeps: digest of each object's name → of what it is, secrets left out."""
        return {
            short(name): short(repr(sorted((c, d) for c, d in columns.items() if c not in SECRET)))
            for name, columns in self.objects.items()
        }


def short(text: str) -> str:
    """:returns: a digest that tells objects apart, and takes little room."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _in_schemas(column: str) -> str:
    return f"WHERE {column} NOT IN {SYSTEM_SCHEMAS}"


#: the same on all flavors; definitions of views, routines and triggers are not shown to everybody
COMMON = (
    Source(
        "view",
        "information_schema.VIEWS",
        ("TABLE_SCHEMA", "TABLE_NAME"),
        ("VIEW_DEFINITION", "CHECK_OPTION", "DEFINER", "SECURITY_TYPE"),
        where=_in_schemas("TABLE_SCHEMA"),
    ),
    Source(
        "routine",
        "information_schema.ROUTINES",
        ("ROUTINE_SCHEMA", "ROUTINE_NAME", "ROUTINE_TYPE"),
        ("ROUTINE_DEFINITION", "DTD_IDENTIFIER", "SQL_DATA_ACCESS", "SECURITY_TYPE", "SQL_MODE", "DEFINER"),
        where=_in_schemas("ROUTINE_SCHEMA"),
    ),
    Source(
        "trigger",
        "information_schema.TRIGGERS",
        ("TRIGGER_SCHEMA", "TRIGGER_NAME"),
        (
            *(
                "EVENT_MANIPULATION",
                "EVENT_OBJECT_TABLE",
                "ACTION_STATEMENT",
                "ACTION_TIMING",
                "ACTION_ORDER",
            ),
            *("SQL_MODE", "DEFINER"),
        ),
        where=_in_schemas("TRIGGER_SCHEMA"),
    ),
    # Not its status: a replica disables events. Not its dates: they change when it runs.
    Source(
        "event",
        "information_schema.EVENTS",
        ("EVENT_SCHEMA", "EVENT_NAME"),
        (
            *("EVENT_DEFINITION", "EVENT_TYPE", "INTERVAL_VALUE", "INTERVAL_FIELD", "ON_COMPLETION"),
            *("SQL_MODE", "DEFINER", "TIME_ZONE"),
        ),
        where=_in_schemas("EVENT_SCHEMA"),
    ),
)
#: what is granted on less than the whole server; whom, and with what, each flavor keeps in its own way
PRIVILEGES = (
    Source("privileges on schema", "mysql.db", ("User", "Host", "Db")),
    Source(
        "privileges on table",
        "mysql.tables_priv",
        ("User", "Host", "Db", "Table_name"),
        ignored=("Grantor", "Timestamp"),
    ),
    Source(
        "privileges on column",
        "mysql.columns_priv",
        ("User", "Host", "Db", "Table_name", "Column_name"),
        ignored=("Timestamp",),
    ),
    Source(
        "privileges on routine",
        "mysql.procs_priv",
        ("User", "Host", "Db", "Routine_name", "Routine_type"),
        ignored=("Grantor", "Timestamp"),
    ),
)
_TEXTS = frozenset({"VIEW_DEFINITION", "ROUTINE_DEFINITION", "ACTION_STATEMENT", "EVENT_DEFINITION"})


def read(conn: Conn, sources: Sequence[Source], ours: Callable[[str], bool]) -> Definitions:
    """:param ours: whether an account is not to be compared: the agent's, or the server's own."""
    found = Definitions()
    for source in sources:
        try:
            rows = dicts(conn, f"SELECT * FROM {source.table} {source.where}")
        except pymysql.err.MySQLError as exc:
            if exc.args and exc.args[0] in _DENIED:
                found.hidden[f"every {source.kind}"] = str(exc.args[1])
                continue
            raise
        for row in rows:
            _add(found, source, row, ours)
    return found


def _add(found: Definitions, source: Source, row: dict[str, Any], ours: Callable[[str], bool]) -> None:
    if ours(str(row.get("User", row.get("USER", "")))):
        return
    name = f"{source.kind} {'.'.join(_text(row[column]) for column in source.key)}"
    columns = source.columns or [c for c in row if c not in source.key and c not in source.ignored]
    if any(c in _TEXTS and not row[c] for c in columns):
        found.hidden[name] = "the account may not see its text"
        return
    found.objects[name] = {c: _digest(_sql_mode(row[c]) if c == "SQL_MODE" else row[c]) for c in columns}


def _sql_mode(modes: object) -> str:
    """A MySQL node's applier adds NO_DIR_IN_CREATE, under which nodes run, to whatever it defines."""
    return ",".join(mode for mode in _text(modes).split(",") if mode != "NO_DIR_IN_CREATE")


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _digest(value: object) -> str:
    raw = value if isinstance(value, bytes) else repr(value).encode()
    return hashlib.sha256(raw).hexdigest()[:32]
