"""Set a node's MEMORY tables aside while it replicates.

The node has lost their rows, so the primary's row events would stop the applier. A replication filter is no remedy,
because it ignores whole statements: DDL on these tables, and what a statement does to other tables. So each MEMORY
table is a BLACKHOLE table as long as replication runs: it accepts all row events, keeps no rows, and DDL is replayed.

MIN_ROWS marks the tables, because it survives what DDL does to them: ALTER, RENAME, CREATE … LIKE.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pymysql

from airflow_restore_replay.core.errors import (
    NotReplayable,
    PreflightFailed,
    RestoreReplayError,
    UnsupportedTables,
)
from airflow_restore_replay.core.flavor.quoting import qualified
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, run, value
from airflow_restore_replay.core.flavor.values import Conn

#: MIN_ROWS of a table that is set aside: the first of these plus the table's own value; the server keeps 32 bits
_MARKS = range(3_900_000_000, 4_000_000_000)
_MIN_ROWS = re.compile(r"\bmin_rows=(\d+)", re.I)
_NAMES_SHOWN = 20


@dataclass(frozen=True)
class _Found:
    """A MEMORY table, or one that is marked.

    :param engine: None if the server cannot open the table, as after a restart without the engine.
    :param min_rows: its own value, without the mark.
    """

    schema: str
    name: str
    engine: str | None
    min_rows: int
    marked: bool

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"

    def alter(self, node: Conn, engine: str, min_rows: int) -> None:
        table = qualified(self.schema, self.name)
        run(node, f"ALTER TABLE {table} ENGINE={engine} MIN_ROWS={min_rows}")


def set_aside(node: Conn, *, load: Sequence[str] = ()) -> None:
    """Convert MEMORY tables to BLACKHOLE; replication must be stopped.

    :param load: statements that load the engine BLACKHOLE if the server does not have it at once.
    :raises UnsupportedTables: the engine does not accept some tables; the error names them.
    """
    why = {}
    found = [table for table in _find(node, load) if table.engine == "MEMORY"]
    if found:
        _load_engine(node, load)
    with _lax(node):
        for table in found:
            try:
                if table.min_rows >= len(_MARKS):
                    raise pymysql.err.MySQLError(0, f"its MIN_ROWS is not below {len(_MARKS)}")
                table.alter(node, "BLACKHOLE", _MARKS[table.min_rows])
            except pymysql.err.MySQLError as exc:
                why[table.qualified] = str(exc.args[-1])
    if why:
        raise UnsupportedTables(
            f"{len(why)} MEMORY tables cannot be set aside while the node replicates: "
            + "; ".join(f"{name} ({text})" for name, text in list(why.items())[:_NAMES_SHOWN]),
            hint="Give them another engine, or a definition that the engine BLACKHOLE accepts, too.",
        )


def put_back(node: Conn, *, load: Sequence[str] = ()) -> None:
    """Convert what :func:`set_aside` converted to MEMORY again; replication must be stopped.

    :raises NotReplayable: a MEMORY table became permanent, and its rows are not in the binary log.
    """
    marked = [table for table in _find(node, load) if table.marked]
    if lost := _permanent(marked):
        raise lost
    with _lax(node):
        for table in marked:
            table.alter(node, "MEMORY", table.min_rows)


def cause_of(error: RestoreReplayError, node: Conn) -> RestoreReplayError:
    """Return what is behind an applier's *error*: something about a MEMORY table, or *error* itself.

    After ``ALTER TABLE … ENGINE=MEMORY`` on the primary, a table is not set aside any more.
    """
    marked = [table for table in _find(node, ()) if table.marked]
    if lost := _permanent(marked):
        return lost
    if (at := error.evidence.get("table")) in {table.qualified for table in marked}:
        return NotReplayable(
            f"The applier stopped at the MEMORY table {at}, whose rows no backup has: {error.message}",
            evidence=error.evidence,
        )
    return error


def _permanent(marked: list[_Found]) -> NotReplayable | None:
    names = [table.qualified for table in marked if table.engine not in (None, "MEMORY", "BLACKHOLE")]
    if not names:
        return None
    return NotReplayable(
        f"On the primary, {len(names)} MEMORY tables got another engine: {', '.join(names[:_NAMES_SHOWN])}. The "
        "binary log does not have the rows that they had.",
        evidence={"tables": names[:_NAMES_SHOWN]},
    )


def _find(node: Conn, load: Sequence[str]) -> list[_Found]:
    query = (
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, COALESCE(CREATE_OPTIONS, '') FROM information_schema.TABLES"
        f" WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS}"
        " AND (ENGINE IS NULL OR ENGINE = 'MEMORY' OR CREATE_OPTIONS LIKE '%min_rows=%')"
    )
    listed = rows(node, query)
    if load and any(engine is None for _, _, engine, _ in listed):
        with contextlib.suppress(PreflightFailed):
            _load_engine(node, load)
            listed = rows(node, query)
    found = []
    for schema, name, engine, options in listed:
        match = _MIN_ROWS.search(options)
        min_rows = int(match[1]) if match else 0
        marked = min_rows in _MARKS
        own = _MARKS.index(min_rows) if marked else min_rows
        found.append(_Found(schema, name, engine, own, marked))
    return found


def _load_engine(node: Conn, load: Sequence[str]) -> None:
    support = value(node, "SELECT SUPPORT FROM information_schema.ENGINES WHERE ENGINE = 'BLACKHOLE'")
    if support in ("YES", "DEFAULT"):
        return
    try:
        if not load:
            raise pymysql.err.MySQLError(0, "it was built without it")
        for statement in load:
            run(node, statement)
    except pymysql.err.MySQLError as exc:
        raise PreflightFailed(
            f"The node's server has no storage engine BLACKHOLE ({exc.args[-1]}), which MEMORY tables need while it "
            "replicates.",
            hint="Install ha_blackhole.so, which is part of the server's packages, into its plugin directory.",
        ) from exc


@contextlib.contextmanager
def _lax(node: Conn) -> Iterator[None]:
    """Accept every old definition, but no other engine than the one that is asked for."""
    before = value(node, "SELECT @@SESSION.sql_mode")
    run(node, "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")
    try:
        yield
    finally:
        run(node, "SET SESSION sql_mode = %s", (before,))
