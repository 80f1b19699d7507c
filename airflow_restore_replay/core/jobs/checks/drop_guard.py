"""Refuse a backup that has far fewer rows than the previous one, until a person has examined it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pymysql

from airflow_restore_replay.core.decisions.holds import released
from airflow_restore_replay.core.errors import DataMismatch, RestoreReplayError, SourceShrank
from airflow_restore_replay.core.flavor.quoting import qualified
from airflow_restore_replay.core.flavor.sql import value
from airflow_restore_replay.core.flavor.values import Conn, Table
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox, carried
from airflow_restore_replay.core.jobs.checks.rotation import Rotation
from airflow_restore_replay.core.jobs.compare.comparison import open_matching_snapshot
from airflow_restore_replay.core.jobs.context import JobContext

#: the guard is off if the previous backup had fewer rows than this
_FEW_ROWS = 1_000
_SMALL_BYTES = 64 * 2**20


@dataclass
class _Rows:
    """Row counts of one server.

    :param small: rows of all small tables.
    :param large: large table → rows when it was last counted.
    :param last: the large table whose turn it was.
    :param guessed: for tables that were not counted now, the server's estimates minus the last counts.
    """

    tables: int
    small: int = 0
    large: dict[str, int] = field(default_factory=dict)
    last: str = ""
    guessed: int = 0

    @property
    def rows(self) -> int:
        return self.small + sum(self.large.values())

    @property
    def likely(self) -> int:
        return self.rows + self.guessed

    def totals(self) -> dict[str, Any]:
        return {"tables": self.tables, "rows": self.rows}

    def carry(self) -> dict[str, Any]:
        return self.totals() | {"large": dict(sorted(self.large.items())), "last": self.last}


class DropGuardCheck:
    """Check that rows are not fewer than in the previous backup by more than ``validate.drop_guard``.

    Table statistics may be stale: they only trigger an exact count. Counted rows decide and are carried to the next
    cycle.

    Small tables are counted in each cycle. Large tables are counted when they are new and when their turn comes, one in
    each cycle. All tables are counted if rows seem to be missing. Then the primary is counted, too: rows that it lacks
    as well, it lost itself.
    """

    name = "drop_guard"
    cost = Cost.READS_DATA
    blames: type[RestoreReplayError] = DataMismatch

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        guard, before = ctx.cluster.validate.drop_guard, _before(ctx, self.name)
        with ctx.server.connect() as node:
            now = _count_some(ctx, node, before, box)
            dropped = _dropped(before, now, guard)
            if dropped:
                now = _count(ctx, node, ctx.flavor.tables(node))
                dropped = _dropped(before, now, guard)
        if dropped and guard:
            _blame_the_primary(ctx, before, guard)
        return CheckResult(
            name=self.name,
            passed=not dropped,
            observed=_described(now.totals()),
            expected=f"at most {guard:.0%} fewer than {_described(before)}" if guard and before else "",
            hint="The primary has them: the node lost data.",
            details={"before": _totals(before), "now": now.totals()} if dropped else {},
            carry=now.carry(),
        )


def _before(ctx: JobContext, name: str) -> dict[str, Any]:
    """Return the previous backup's rows, or the primary's rows from a hold for lost rows that was released since."""
    since = ctx.previous.created_at if ctx.previous else None
    seen = released(ctx.repository.catalog(), SourceShrank.__name__, since)
    found = seen[-1].failure.evidence if seen and seen[-1].failure else {}
    carry = carried(ctx, name)
    return dict(found["now"]) if "now" in found else carry if "large" in carry else {}


def _dropped(before: dict[str, Any], now: _Rows, guard: float | None) -> bool:
    known = int(before.get("rows", 0))
    return guard is not None and known >= _FEW_ROWS and now.likely < known * (1 - guard)


def _count_some(ctx: JobContext, node: Conn, before: dict[str, Any], box: TimeBox) -> _Rows:
    """Count the tables that are small or new, and the one whose turn it is, as far as the time box allows."""
    tables = ctx.flavor.tables(node)
    counted: dict[str, int] = before.get("large", {})
    known = {t.qualified: t for t in tables if _large(t) and t.qualified in counted}
    last = next(iter(Rotation(known, str(before.get("last", ""))).until(lambda: True)), "")
    known.pop(last, None)
    now = _count(ctx, node, [t for t in tables if t.qualified not in known], box)
    now.tables, now.last = len(tables), last
    for name, table in known.items():
        now.large[name] = counted[name]
        now.guessed += table.rows_estimate - counted[name]
    return now


def _count(ctx: JobContext, conn: Conn, tables: list[Table], box: TimeBox | None = None) -> _Rows:
    found = _Rows(len(tables))
    for table in tables:
        ctx.stop_if_cancelled()
        rows = None if box and box.over else _rows_of(ctx, conn, table)
        if rows is None:
            found.guessed += table.rows_estimate
        elif _large(table):
            found.large[table.qualified] = rows
        else:
            found.small += rows
    return found


def _large(table: Table) -> bool:
    return table.data_bytes > _SMALL_BYTES


def _rows_of(ctx: JobContext, conn: Conn, table: Table) -> int | None:
    try:
        return int(value(conn, f"SELECT COUNT(*) FROM {qualified(table.schema, table.name)}"))
    except pymysql.err.MySQLError:
        # The table was dropped meanwhile, or is damaged, which other checks report.
        if not ctx.server.alive():
            raise
        return None


def _blame_the_primary(ctx: JobContext, before: dict[str, Any], guard: float) -> None:
    """Count the rows of node and primary at one position, and raise if the primary lacks them as well.

    :raises SourceShrank: the primary has about as few rows as the node.
    """
    with ctx.flavor.connect(ctx.primary) as primary:
        position = open_matching_snapshot(ctx, primary).position
        with ctx.node.changing() as state:
            state.position = str(position)
        theirs = _count(ctx, primary, [t for t in ctx.flavor.tables(primary) if t.mvcc])
        with ctx.server.connect() as node:
            tables = ctx.flavor.tables(node)
            ours = _count(ctx, node, [t for t in tables if t.mvcc])
            rest = _count(ctx, node, [t for t in tables if not t.mvcc])
    if ours.likely < theirs.likely * (1 - guard):
        return
    now = {"tables": len(tables), "rows": ours.likely + rest.likely}
    raise SourceShrank(
        f"The primary holds {_described(now)}; the previous backup was made of {_described(before)}.",
        hint="The last good backup has the rows and is kept. If they were deleted on purpose, release the hold "
        "(`restore-replay list` names it).",
        evidence={"before": _totals(before), "now": now},
    )


def _totals(known: dict[str, Any]) -> dict[str, Any]:
    return {name: known[name] for name in ("tables", "rows")}


def _described(totals: dict[str, Any]) -> str:
    return f"{totals['rows']} rows in {totals['tables']} tables" if totals else "nothing known"
