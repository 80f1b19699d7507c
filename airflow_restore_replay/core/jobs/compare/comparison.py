"""Compare node and primary at one exact position.

A consistent snapshot is opened on the primary, its exact GTID is taken, the node replays *until* that GTID,
and then every row of every MVCC table is compared inside the snapshot. Tables that DDL took away from the
snapshot, and rows that differ, are looked at once more at a second position: only what differs at both is a
mismatch.
"""

from __future__ import annotations

import fnmatch
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pymysql

from airflow_restore_replay.core.errors import CatchUpStalled
from airflow_restore_replay.core.flavor.values import Conn, Position, Snapshot, Table
from airflow_restore_replay.core.jobs.compare.ranges import (
    Difference,
    Sides,
    compare_table,
    fetch,
)
from airflow_restore_replay.core.jobs.compare.tables import TablePlan, plan_table, quote
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.replay import replay_until

#: The snapshot cannot show the table any more: dropped, redefined, or locked away by DDL.
#: Source: the servers' error codes 1051, 1054, 1146, 1412, 1932.
_TAKEN_BY_DDL = (1051, 1054, 1146, 1412)
_PASSES = 3
_MEETINGS = 5


@dataclass
class Comparison:
    """:param differences: rows that differ at two positions.
    :param uncompared: ``schema.table`` → why the comparison does not cover it.
    :param missing: tables that the primary has and the node lacks, at two positions.
    :param snapshot: how the first snapshot was made exact, and for how long that kept writers waiting.
    """

    position: Position
    tables: int = 0
    rows: int = 0
    differences: list[Difference] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    uncompared: dict[str, str] = field(default_factory=dict)
    snapshot: dict[str, Any] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        return not self.differences and not self.missing


@dataclass
class _Pass:
    """What one snapshot showed."""

    position: Position
    rows: int
    plans: dict[str, TablePlan]
    snapshot: dict[str, Any]
    compared: set[str] = field(default_factory=set)
    differences: dict[str, list[Difference]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)

    @property
    def again(self) -> set[str]:
        return set(self.differences) | self.missing | self.taken


def compare_with_primary(ctx: JobContext) -> Comparison:
    """Compare every MVCC table; see the module.

    :raises RestoreReplayError: replication to the comparison position failed, classified.
    """
    first = _run_pass(ctx, only=None)
    result = Comparison(first.position, rows=first.rows, snapshot=first.snapshot)
    compared = set(first.compared)
    last = first
    for _ in range(_PASSES - 1):
        if not last.again:
            break
        before, last = last, _run_pass(ctx, only=last.again)
        compared |= last.compared
        result.rows += last.rows
        result.differences += _confirmed(before, last)
        result.missing += sorted(before.missing & last.missing)
        if result.differences or result.missing:
            break
    result.position = last.position
    result.tables = len(compared)
    result.uncompared = _uncompared(ctx) | dict.fromkeys(
        sorted(last.taken), "changed by DDL during the comparison"
    )
    return result


def _confirmed(before: _Pass, after: _Pass) -> list[Difference]:
    return [
        later
        for name, laters in after.differences.items()
        for later in laters
        if any(earlier.confirmed_by(later) for earlier in before.differences.get(name, ()))
    ]


def _run_pass(ctx: JobContext, only: set[str] | None) -> _Pass:
    """Open a snapshot, bring the node to it, compare.

    :param only: names of the tables to look at; None is all.
    """
    with ctx.flavor.connect(ctx.primary) as primary:
        snapshot = _meet(ctx, primary)
        with (
            ctx.crash_guard("comparing"),
            ctx.server.connect() as node,
            ThreadPoolExecutor(1, thread_name_prefix="primary") as pool,
        ):
            ctx.report.phase("comparing with the primary")
            sides = Sides(primary, node, pool)
            seen = _Pass(
                snapshot.position, 0, {}, {"method": snapshot.method, "locked_s": round(snapshot.locked_s, 4)}
            )
            _compare_all(ctx, sides, seen, only)
            seen.rows = sides.rows
            return seen


def _meet(ctx: JobContext, primary: Conn) -> Snapshot:
    """Open a snapshot on the primary and bring the node to it exactly.

    Where the stream keeps temporary tables open, the node can stop only further on: then a later snapshot.
    """
    for _ in range(_MEETINGS):
        ctx.report.phase("opening a snapshot on the primary")
        snapshot = ctx.flavor.open_snapshot(ctx.primary, primary)
        position = snapshot.position
        ctx.report.phase("replaying to the comparison position", detail=str(position))
        if position.contains(replay_until(ctx, position).position):
            return snapshot
        primary.rollback()
    raise CatchUpStalled(
        f"In {_MEETINGS} tries the node never stopped exactly at a snapshot of the primary.",
        hint="Temporary tables in a statement-based stream prevent it; use binlog_format=ROW.",
    )


def _compare_all(ctx: JobContext, sides: Sides, seen: _Pass, only: set[str] | None) -> None:
    ours = _chosen(ctx, sides.node, only)
    theirs = _chosen(ctx, sides.primary, only)
    seen.missing = {n for n in theirs.keys() - ours.keys() if _in_snapshot(sides, theirs[n])}
    seen.taken = theirs.keys() - ours.keys() - seen.missing
    # A node that was just filled has no good estimates yet.
    total = sum(max(t.rows_estimate, theirs.get(name, t).rows_estimate) for name, t in ours.items())
    for name, table in ours.items():
        seen.plans[name] = plan_table(ctx.flavor, sides.node, table)
        try:
            found = _compare_one(ctx, sides, seen.plans[name], total)
        except pymysql.err.MySQLError as exc:
            if not ctx.server.alive() or not exc.args or exc.args[0] not in _TAKEN_BY_DDL:
                raise
            seen.taken.add(name)
            continue
        seen.compared.add(name)
        if found:
            seen.differences[name] = found


def _in_snapshot(sides: Sides, table: Table) -> bool:
    """The primary lists the tables of now; one that was made after the snapshot the node cannot have yet."""
    try:
        fetch(sides.primary, f"SELECT 1 FROM {quote(table.schema)}.{quote(table.name)} LIMIT 1", [])
    except pymysql.err.MySQLError as exc:
        if not exc.args or exc.args[0] not in _TAKEN_BY_DDL:
            raise
        return False
    return True


def _compare_one(ctx: JobContext, sides: Sides, plan: TablePlan, total: int) -> list[Difference]:
    def on_chunk(rows: int) -> None:
        ctx.stop_if_cancelled()
        ctx.report.count(rows, total, unit="rows", detail=plan.table.qualified)

    return compare_table(sides, plan, chunk_rows=ctx.cluster.validate.chunk_rows, on_chunk=on_chunk)


def _chosen(ctx: JobContext, conn: Conn, only: set[str] | None) -> dict[str, Table]:
    left_out = ctx.flavor.uncompared(conn)
    return {
        t.qualified: t
        for t in ctx.flavor.tables(conn)
        if t.mvcc
        and t.qualified not in left_out
        and not _excluded(ctx, t.qualified)
        and (only is None or t.qualified in only)
    }


def _excluded(ctx: JobContext, name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ctx.cluster.validate.exclude)


def _uncompared(ctx: JobContext) -> dict[str, str]:
    with ctx.server.connect() as node:
        listed = dict(ctx.flavor.uncompared(node))
        for table in ctx.flavor.tables(node):
            if _excluded(ctx, table.qualified):
                listed[table.qualified] = "excluded by validate.exclude"
    return listed


def evidence_of(comparison: Comparison) -> dict[str, Any]:
    """:returns: what a verdict keeps of a mismatch."""
    return {
        "position": str(comparison.position),
        "differences": [d.describe() for d in comparison.differences[:50]],
        "missing_tables": comparison.missing[:50],
    }
