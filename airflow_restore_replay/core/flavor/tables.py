"""Tables and events of a server, and which tables a snapshot or a comparison cannot cover: common to all flavors."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

import pymysql

from airflow_restore_replay.core.flavor.quoting import joined, qualified
from airflow_restore_replay.core.flavor.redaction import redacted, redacted_message
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, run, value
from airflow_restore_replay.core.flavor.values import Conn, Table

_AUXILIARY = re.compile(r"fts_[0-9a-f]{16}_", re.IGNORECASE)
#: engines whose rows a consistent snapshot covers
MVCC_ENGINES = frozenset({"InnoDB"})
#: The server cannot open the table, and it is not corrupt: a table of MERGE, an engine that is not loaded, a tablespace
#: that is discarded. Source, also of the next: the servers' error codes.
NOT_OPENED_INTACT = frozenset({1168, 1286, 1814})
#: and those of files that are missing or do not fit
_NOT_OPENED = NOT_OPENED_INTACT | {
    *(126, 127, 134, 144, 145),
    *(1016, 1017, 1033, 1034, 1035, 1194, 1195, 1812, 1932),
}


def unreadable(conn: Conn, table: Table) -> str:
    """Return why the server does not open the table, in its words; empty if it does, or if the table is gone."""
    try:
        run(conn, f"SELECT 1 FROM {qualified(table.schema, table.name)} LIMIT 1")
    except pymysql.err.MySQLError as exc:
        number = exc.args[0] if exc.args else 0
        if number not in _NOT_OPENED:
            return ""
        return redacted_message(number, str(exc.args[-1]))
    return ""


def complaint(conn: Conn, table: Table, option: str) -> str:
    """Return the errors that ``CHECK TABLE`` reports for the table; empty for none."""
    found = rows(conn, f"CHECK TABLE {qualified(table.schema, table.name)} {option}")
    bad = [str(text) for _, _, kind, text in found if kind.lower() == "error"]
    status = [str(text) for _, _, kind, text in found if kind.lower() == "status"]
    if bad or (status and status[-1] not in ("OK", "Table is already up to date")):
        return redacted("; ".join(bad or status))
    return ""


def tables(conn: Conn, *, base: str) -> list[Table]:
    """Return the base tables of users' schemas.

    :param base: condition that a row of ``information_schema.TABLES`` is a base table.
    """
    found = rows(
        conn,
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, COALESCE(TABLE_ROWS, 0),"
        " COALESCE(DATA_LENGTH + INDEX_LENGTH, 0)"
        f" FROM information_schema.TABLES WHERE {base} AND TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS}"
        " ORDER BY TABLE_SCHEMA, TABLE_NAME",
    )
    return [
        Table(
            schema=schema,
            name=name,
            engine=engine or "",
            mvcc=engine in MVCC_ENGINES,
            rows_estimate=int(estimate),
            data_bytes=int(size),
        )
        for schema, name, engine, estimate, size in found
    ]


def names(conn: Conn) -> list[tuple[str, str]]:
    """Return schema and name of all tables and views that the account may see."""
    found = rows(conn, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES")
    return [(str(schema), str(name)) for schema, name in found]


def schema_names(conn: Conn) -> set[str]:
    """Return the schemas that the account may see."""
    return {str(name) for (name,) in rows(conn, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")}


def is_auxiliary(name: str) -> bool:
    """Return whether InnoDB made the table *name* for itself: for a full-text index, or for a statement."""
    return name.startswith("#sql") or bool(_AUXILIARY.match(name))


def data_bytes(conn: Conn) -> int:
    """Return the server's estimate of the size of all tables, in bytes."""
    return int(value(conn, "SELECT COALESCE(SUM(DATA_LENGTH), 0) FROM information_schema.TABLES") or 0)


def of_other_engines(found: Iterable[Table], carried: Container[str]) -> dict[str, str]:
    """Return the tables that no cold copy contains because of their engine, with the reason.

    :param carried: engines whose data is only in files of the data directory.
    """
    why = {
        table.qualified: f"engine {table.engine} keeps data outside the data directory or is untested"
        for table in found
        if table.engine not in carried
    }
    broken = "its engine is not known to the server, or its definition is broken"
    return why | {table.qualified: broken for table in found if not table.engine}


def without_snapshots(found: Iterable[Table]) -> dict[str, str]:
    """Return the tables that a consistent snapshot does not cover because of their engine, with the reason."""
    return {table.qualified: f"engine {table.engine} has no snapshots" for table in found if not table.mvcc}


def event_states(conn: Conn, condition: str = "TRUE") -> dict[str, str]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.event_states`."""
    found = rows(
        conn,
        "SELECT EVENT_SCHEMA, EVENT_NAME, STATUS FROM information_schema.EVENTS"
        f" WHERE {condition} ORDER BY 1, 2",
    )
    return {joined(schema, name): status for schema, name, status in found}
