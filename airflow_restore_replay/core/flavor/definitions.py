"""Definitions of a server, in a form in which two servers can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pymysql

from airflow_restore_replay.core.flavor import structure
from airflow_restore_replay.core.flavor.dropped import again_if_dropped
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, dicts
from airflow_restore_replay.core.flavor.values import Conn

#: errors for a missing privilege: SELECT, SHOW VIEW, EVENT or TRIGGER
_DENIED = (1044, 1142, 1143, 1227)
#: columns from which passwords could be guessed: they are compared, but never recorded
SECRET = frozenset({"authentication_string", "User_attributes", "Password"})
#: raised when other objects or columns are digested, so that older records are not taken for other definitions
_FORM = 3


@dataclass(frozen=True)
class Source:
    """A system table with one row for each object.

    :param kind: the kind of the objects, for people.
    :param key: columns that name an object.
    :param columns: columns that must be equal; if empty, all except *key* and *ignored*.
    """

    kind: str
    table: str
    key: Sequence[str]
    columns: Sequence[str] = ()
    ignored: Sequence[str] = ()
    where: str = ""


@dataclass
class Definitions:
    """Objects that are defined in a server, by digests of their columns.

    :param objects: ``view shop.v`` → column → digest of its value, so that no password hash leaves this module.
    :param hidden: objects that the account may not see → the reason.
    :param kinds: of the objects that were read.
    """

    objects: dict[str, Mapping[str, str]] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=lambda: {*structure.KINDS})

    def recorded(self) -> dict[str, str]:
        """Return the part for the manifest: digest of each object's name → digest of its columns without secrets."""
        return {
            short(name): short(repr(sorted((c, d) for c, d in columns.items() if c not in SECRET)))
            for name, columns in self.objects.items()
        }

    def reads(self, name: str) -> bool:
        """Return whether the object *name* would be in :attr:`objects`, if the server had it."""
        return name.startswith(tuple(f"{kind} " for kind in self.kinds))

    def differs(self, name: str, other: Definitions) -> tuple[str, ...]:
        """Return in what an object differs from that of *other*; empty if that is not known.

        :param other: the primary's, by its account.
        """
        if any(name == h or f"every {name}".startswith(f"{h} ") for h in other.hidden):
            return ()
        if not other.reads(name):
            return ()
        here, there = self.objects.get(name), other.objects.get(name)
        if there is None or here is None:
            return ("missing on the node" if here is None else "only on the node",)
        differing = [column for column in there if column in here and there[column] != here[column]]
        if not holds_rows(name):
            return tuple(differing)  # other columns are those of another release
        return (
            *differing,
            *(f"{part} (only on the primary)" for part in there if part not in here),
            *(f"{part} (only on the node)" for part in here if part not in there),
        )


def holds_rows(name: str) -> bool:
    """Return whether the object *name* is a schema, a table or a sequence."""
    return name.startswith(tuple(f"{kind} " for kind in structure.KINDS))


def cosmetic(how: Sequence[str]) -> bool:
    """Return whether no row depends on the parts of a table in *how*."""
    return all(part.startswith(structure.COSMETIC) for part in how)


def form_of(release: str) -> str:
    """Return what two records must have in common to be comparable.

    :param release: of the server that shows the definitions; another one may show the same definition differently.
    """
    return f"{_FORM} {release}"


def short(text: str) -> str:
    """Return a short digest that distinguishes objects."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _in_schemas(column: str) -> str:
    return f"WHERE {column} NOT IN {SYSTEM_SCHEMAS}"


#: the same on all flavors; the server shows the text of views, routines and triggers to privileged accounts only
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
    # The status is left out because a replica disables events, and the dates because they change when an event runs.
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
#: privileges below the global level; each flavor stores accounts and global privileges in its own way
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


def read(
    conn: Conn, sources: Sequence[Source], parts: Sequence[structure.Part], ours: Callable[[str], bool]
) -> Definitions:
    """Read the definitions from *sources*, and those of schemas, tables and sequences.

    :param parts: of a table, as this flavor and release shows them.
    :param ours: whether an account is left out of the comparison: the agent's, or the server's own.
    """
    return again_if_dropped(lambda: _read(conn, sources, parts, ours))


def _read(
    conn: Conn, sources: Sequence[Source], parts: Sequence[structure.Part], ours: Callable[[str], bool]
) -> Definitions:
    found = Definitions()
    for name, defined in structure.read(conn, parts).items():
        found.objects[name] = {part: _digest(sorted(values, key=repr)) for part, values in defined.items()}
    for source in sources:
        try:
            rows = dicts(conn, f"SELECT * FROM {source.table} {source.where}")
        except pymysql.err.MySQLError as exc:
            if exc.args and exc.args[0] in _DENIED:
                found.hidden[f"every {source.kind}"] = str(exc.args[1])
                continue
            raise
        found.kinds.add(source.kind)
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
    """Return SQL modes without NO_DIR_IN_CREATE, which the applier of a MySQL node adds to each definition.

    Nodes run with that mode.
    """
    return ",".join(mode for mode in _text(modes).split(",") if mode != "NO_DIR_IN_CREATE")


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _digest(value: object) -> str:
    raw = value if isinstance(value, bytes) else repr(value).encode()
    return hashlib.sha256(raw).hexdigest()[:32]
