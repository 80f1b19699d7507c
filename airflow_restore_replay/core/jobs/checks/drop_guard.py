"""A backup that suddenly holds far less than the one before it is looked at by a person."""

from __future__ import annotations

from typing import Any

import pymysql

from airflow_restore_replay.core.errors import DataMismatch, RestoreReplayError, SourceShrank
from airflow_restore_replay.core.flavor.sql import identifier, value
from airflow_restore_replay.core.flavor.values import Conn, Table
from airflow_restore_replay.core.holds import released
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox, carried
from airflow_restore_replay.core.jobs.compare.comparison import meet
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.units import human_bytes

#: less than this says nothing: estimates are rough, and an empty table has pages, too
_FEW = {"rows": 10_000, "bytes": 64 * 2**20}
_SMALL_BYTES = 64 * 2**20


class NothingLost:
    """Rows and bytes are not fewer than in the previous backup by more than ``validate.drop_guard``.

    Small tables' rows are counted; of large ones the server's estimate is taken, unless rows seem to be gone. The
    primary is asked, too: what it lacks as well, it lost itself.
    """

    name = "drop_guard"
    cost = Cost.SECONDS
    blames: type[RestoreReplayError] = DataMismatch

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        guard, before = ctx.cluster.validate.drop_guard, _before(ctx, self.name)
        with ctx.server.connect() as node:
            tables = ctx.flavor.tables(node)
            now = _totals(tables) | {"rows": _rows(ctx, node, tables, box)}
            dropped = _dropped(before, now, guard)
            if "rows" in dropped:
                now["rows"] = _rows(ctx, node, tables)
                dropped = _dropped(before, now, guard)
        if dropped and guard:
            _blame_the_primary(ctx, before, guard)
        return CheckResult(
            name=self.name,
            passed=not dropped,
            observed=_described(now),
            expected=f"at most {guard:.0%} fewer than {_described(before)}" if guard and before else "",
            hint="The primary has them: the node lost data.",
            details={"before": before, "now": now} if dropped else {},
            carry=now,
        )


def _before(ctx: JobContext, name: str) -> dict[str, Any]:
    """:returns: the previous backup's totals; or the primary's that somebody has seen since, and released."""
    since = ctx.previous.created_at if ctx.previous else None
    seen = released(ctx.repository.catalog(), SourceShrank.__name__, since)
    found = seen[-1].failure.evidence if seen and seen[-1].failure else {}
    return dict(found["now"]) if "now" in found else carried(ctx, name)


def _totals(tables: list[Table]) -> dict[str, Any]:
    return {
        "tables": len(tables),
        "rows": sum(t.rows_estimate for t in tables),
        "bytes": sum(t.data_bytes for t in tables),
    }


def _dropped(before: dict[str, Any], now: dict[str, Any], guard: float | None) -> list[str]:
    if guard is None:
        return []
    return [
        what
        for what, few in _FEW.items()
        if before.get(what, 0) >= few and now[what] < before[what] * (1 - guard)
    ]


def _rows(ctx: JobContext, node: Conn, tables: list[Table], box: TimeBox | None = None) -> int:
    """:param box: only small tables are counted, as many as there is time for; the others are estimated."""
    rows = 0
    for table in tables:
        ctx.stop_if_cancelled()
        counted = box is None or (table.data_bytes <= _SMALL_BYTES and not box.over)
        rows += _count(ctx, node, table) if counted else table.rows_estimate
    return rows


def _count(ctx: JobContext, conn: Conn, table: Table) -> int:
    try:
        return int(value(conn, f"SELECT COUNT(*) FROM {identifier(table.schema)}.{identifier(table.name)}"))
    except pymysql.err.MySQLError:
        # Dropped meanwhile, or damaged: that is for other checks to say.
        if not ctx.server.alive():
            raise
        return table.rows_estimate


def _blame_the_primary(ctx: JobContext, before: dict[str, Any], guard: float) -> None:
    """Estimates may be old: the rows of both are counted, at one position."""
    with ctx.flavor.connect(ctx.primary) as primary:
        position = meet(ctx, primary).position
        ctx.node.update(position=str(position))
        theirs = _rows(ctx, primary, [t for t in ctx.flavor.tables(primary) if t.mvcc])
        with ctx.server.connect() as node:
            tables = ctx.flavor.tables(node)
            ours = _rows(ctx, node, [t for t in tables if t.mvcc])
            now = _totals(tables) | {"rows": _rows(ctx, node, tables)}
    if ours < theirs * (1 - guard):
        return
    raise SourceShrank(
        f"The primary holds {_described(now)}; the previous backup was made of {_described(before)}.",
        hint="The last good backup has what is gone, and is kept. If it was meant to go, release the hold "
        "(`restore-replay list` names it).",
        evidence={"before": before, "now": now},
    )


def _described(totals: dict[str, Any]) -> str:
    if not totals:
        return "nothing known"
    return f"{totals['rows']} rows in {totals['tables']} tables, {human_bytes(totals['bytes'])}"
