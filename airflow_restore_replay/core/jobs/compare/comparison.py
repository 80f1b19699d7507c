"""Compare node and primary at one exact position.

The comparison opens a consistent snapshot on the primary, reads its exact GTID, and has the node replay *until* that
GTID. Then it compares the rows of MVCC tables inside the snapshot: all tables, or, if there is no time for that, those
whose turn it is.

Tables that DDL made unavailable to the snapshot, and rows that differ, are compared again at a second position. Only a
difference at both positions is a mismatch.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from airflow_restore_replay.core.errors import CatchUpStalled
from airflow_restore_replay.core.flavor.values import Conn, Position, Snapshot
from airflow_restore_replay.core.jobs.compare.comparison_pass import ComparisonPass, excluded, names_of
from airflow_restore_replay.core.jobs.compare.coverage import Coverage
from airflow_restore_replay.core.jobs.compare.ranges import Difference, Sides
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.replay import replay_until

_PASSES = 3
_MEETINGS = 5


@dataclass
class Comparison:
    """Result of a comparison with the primary.

    :param differences: rows that differ at two positions.
    :param missing: tables that only the primary has, at two positions.
    :param added: tables that only the node has, at two positions.
    :param unlike: tables of which only one side has some columns, at two positions → those columns.
    :param uncompared: ``schema.table`` → why the comparison does not cover it.
    :param snapshot: how the first snapshot was made exact, and for how many seconds that blocked writers.
    :param ended_for_ddl: whether the first pass ended early because DDL waited; the next cycle continues it.
    :param paused_s: seconds for which the comparison paused because the primary was busy.
    """

    position: Position
    tables: int = 0
    rows: int = 0
    differences: list[Difference] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    unlike: dict[str, str] = field(default_factory=dict)
    uncompared: dict[str, str] = field(default_factory=dict)
    snapshot: dict[str, Any] = field(default_factory=dict)
    ended_for_ddl: bool = False
    paused_s: float = 0.0

    @property
    def agrees(self) -> bool:
        return not self.differences and not self.missing and not self.added and not self.unlike


def compare_with_primary(
    ctx: JobContext, coverage: Coverage, unchanged: Callable[[set[str]], set[str]]
) -> Comparison:
    """Compare as much as ``validate.compare_budget`` has time for, as the module describes.

    :param coverage: what earlier cycles compared; it is updated.
    :param unchanged: returns those of the given tables that nothing has written to since the restore.
    :raises RestoreReplayError: replication to the comparison position failed; classified.
    """

    def all_in_turn(current: ComparisonPass) -> None:
        names = set(current.ours)
        coverage.see(names, unchanged(names))
        current.cover(coverage)

    first = _compare_once(ctx, all_in_turn)
    result = Comparison(
        first.position, rows=first.rows, snapshot=first.snapshot, ended_for_ddl=first.ended_for_ddl
    )
    compared, last, result.paused_s = set(first.compared), first, first.throttle.paused_s
    for _ in range(_PASSES - 1):
        if not last.again:
            break
        before = last
        last = _compare_once(ctx, lambda current, before=before: current.compare_again(before, coverage))  # type: ignore[misc]
        compared |= last.compared
        result.rows += last.rows
        result.paused_s += last.throttle.paused_s
        result.differences += _confirmed(before, last)
        result.missing += sorted(before.missing & last.missing)
        result.added += sorted(before.added & last.added)
        result.unlike |= {name: how for name, how in last.unlike.items() if before.unlike.get(name) == how}
        if not result.agrees:
            break
    result.position = last.position
    result.tables = len(compared)
    by_ddl = dict.fromkeys(
        sorted({*last.taken, *last.added, *last.unlike}), "changed by DDL during the comparison"
    )
    result.uncompared = _uncompared(ctx) | first.left_out | by_ddl
    return result


def _confirmed(before: ComparisonPass, after: ComparisonPass) -> list[Difference]:
    return [
        later
        for name, laters in after.differences.items()
        for later in laters
        if any(earlier.confirmed_by(later) for earlier in before.differences.get(name, ()))
    ]


def _compare_once(ctx: JobContext, work: Callable[[ComparisonPass], None]) -> ComparisonPass:
    """Open a snapshot, replay the node to its position, and compare."""
    with ctx.flavor.connect(ctx.primary) as primary:
        listed = names_of(ctx, primary)
        snapshot = open_matching_snapshot(ctx, primary)
        with (
            ctx.crash_guard("comparing"),
            ctx.server.connect() as node,
            ThreadPoolExecutor(1, thread_name_prefix="primary") as pool,
        ):
            ctx.report.phase("comparing with the primary")
            current = ComparisonPass(ctx, Sides(primary, node, pool), snapshot, listed)
            work(current)
            return current


def open_matching_snapshot(ctx: JobContext, primary: Conn) -> Snapshot:
    """Open a snapshot on *primary*, and replay the node to exactly its position.

    If temporary tables are open in the replicated stream, the node can stop only at a later position. Then try again
    with a later snapshot.

    :raises CatchUpStalled: the node never stopped exactly at a snapshot.
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


def _uncompared(ctx: JobContext) -> dict[str, str]:
    with ctx.server.connect() as node:
        listed = dict(ctx.flavor.uncompared(node))
        for table in ctx.flavor.tables(node):
            if excluded(ctx, table):
                listed[table.qualified] = "excluded by validate.exclude"
    return listed


def evidence_of(comparison: Comparison) -> dict[str, Any]:
    """Return the evidence of a mismatch that a verdict keeps."""
    return {
        "position": str(comparison.position),
        "differences": [d.describe() for d in comparison.differences[:50]],
        "missing_tables": comparison.missing[:50],
        "added_tables": comparison.added[:50],
        "other_columns": dict(list(comparison.unlike.items())[:50]),
    }
