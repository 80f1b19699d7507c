"""One pass of the comparison, at one position: which tables are compared, and how far."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import pymysql

from airflow_restore_replay.core.errors import PrimaryUnreachable
from airflow_restore_replay.core.flavor.tables import unreadable
from airflow_restore_replay.core.flavor.values import Conn, Snapshot, Table
from airflow_restore_replay.core.jobs.compare.coverage import Coverage
from airflow_restore_replay.core.jobs.compare.primary_crash import classify_crash, up_since
from airflow_restore_replay.core.jobs.compare.ranges import (
    Compared,
    Difference,
    Pace,
    Sides,
    asking_the_primary,
    compare_range,
    compare_table,
    fetch,
    fetch_theirs,
)
from airflow_restore_replay.core.jobs.compare.tables import (
    TablePlan,
    columns_of,
    other_columns,
    plan_table,
    quoted_name,
)
from airflow_restore_replay.core.jobs.compare.throttle import Throttle
from airflow_restore_replay.core.jobs.context import JobContext

T = TypeVar("T")

#: The snapshot can no longer show the table: DDL dropped it, redefined it or holds a lock on it.
#: Source: the servers' error codes 1049, 1051, 1054, 1146, 1412.
_TAKEN_BY_DDL = (1049, 1051, 1054, 1146, 1412)
#: share of the time for tables that changed, if other tables wait, too
_FIRST_SHARE = 0.75
_ROWS_PER_S = 50_000.0


class ComparisonPass:
    """Comparison of node and primary in one snapshot.

    :param listed: the primary's tables shortly before the snapshot was opened.
    :ivar ours: tables of the node that can be compared.
    :ivar taken: tables that DDL made unavailable to the snapshot.
    :ivar missing: tables that only the primary has.
    :ivar added: tables that only the node has.
    :ivar unlike: table → columns that only one side has, so that its rows were not compared.
    :ivar ended_for_ddl: whether the pass ended early because DDL waited for a table that its snapshot had read.
    :ivar left_out: table → why it cannot be compared: the snapshot does not show its rows, there will never be time for
        it, or the primary cannot open it.
    """

    def __init__(self, ctx: JobContext, sides: Sides, snapshot: Snapshot, listed: Collection[str]) -> None:
        self._ctx, self._sides = ctx, sides
        self.position = snapshot.position
        self.snapshot = {"method": snapshot.method, "locked_s": round(snapshot.locked_s, 4)}
        self.plans: dict[str, TablePlan] = {}
        self.compared: set[str] = set()
        self.differences: dict[str, list[Difference]] = {}
        self.unlike: dict[str, str] = {}
        self.ended_for_ddl = False
        self.ours = _comparable(ctx, sides.node, ctx.flavor.tables(sides.node))
        on_primary = ctx.flavor.tables(sides.primary)
        theirs = _comparable(ctx, sides.primary, on_primary)
        engines = {table.qualified: table.engine for table in on_primary}
        self.left_out = {
            name: f"engine {engines[name]} on the primary has no snapshots"
            for name in self.ours.keys() & engines.keys() - theirs.keys()
        }
        self.ours = {name: table for name, table in self.ours.items() if name not in self.left_out}
        self.missing = {n for n in theirs.keys() - self.ours.keys() if in_snapshot(sides, theirs[n])}
        self.taken = theirs.keys() - self.ours.keys() - self.missing
        self.added = self.ours.keys() - theirs.keys() - set(listed) - engines.keys()
        # A node that was just filled has no good estimates yet, so the larger one counts.
        self._total = sum(max(t.rows_estimate, theirs.get(n, t).rows_estimate) for n, t in self.ours.items())
        self._pace = Pace(ctx.cluster.validate.chunk_rows)
        self._started = time.monotonic()
        self._up_since = up_since(sides.primary)
        self.throttle = Throttle(sides.primary, ctx.cluster.validate.pause_above)

    @property
    def rows(self) -> int:
        return self._sides.rows

    @property
    def again(self) -> set[str]:
        return {*self.differences, *self.missing, *self.taken, *self.added, *self.unlike}

    def cover(self, coverage: Coverage) -> None:
        """Compare tables in their turn until the time is over: changed tables first, for a share of the time."""
        done: set[str] = set()
        for names, share in _stages(coverage):
            for name in names:
                if self.compared and self._over(share):
                    break
                if name not in done and name not in self.added and self._table(name, coverage, share):
                    done.add(name)

    def compare_again(self, before: ComparisonPass, coverage: Coverage) -> None:
        """Compare again what differed, or could not be compared, in the pass *before*."""
        self.missing &= before.again
        self.taken &= before.again
        self.added &= before.again
        for name in sorted(before.again & self.ours.keys() - self.added):
            spans = before.differences.get(name)
            if spans is None:
                self._table(name, coverage, 1.0)
            else:
                self._same_ranges(name, before.plans[name], spans)

    def _same_ranges(self, name: str, known: TablePlan, differing: list[Difference]) -> None:
        def again() -> list[Difference]:
            plan = self._plan(name)
            if plan is None:
                return []
            if plan.key != known.key:
                return compare_table(
                    self._sides, plan, pace=self._pace, on_chunk=self._tell(name)
                ).differences
            found = [compare_range(self._sides, plan, difference.span) for difference in differing]
            return [difference for difference in found if difference]

        if (found := self._unless_taken(name, again)) is not None and name not in self.unlike:
            self._note(name, found)

    def _table(self, name: str, coverage: Coverage, share: float) -> bool:
        """Compare a table, and return whether this pass is done with it."""

        def go_on() -> Compared | None:
            plan = self._plan(name)
            if plan is None or not plan.key and not self._fits(name):
                return None
            after = coverage.resume(name, plan.key)
            return compare_table(
                self._sides,
                plan,
                pace=self._pace,
                after=after,
                over=lambda: self._over(share),
                on_chunk=self._tell(name),
            )

        compared = self._unless_taken(name, go_on)
        if name in self.taken or compared is None:
            return name in self.taken or name in self.left_out or name in self.unlike
        self._note(name, compared.differences)
        if compared.after is None:
            coverage.finished(name)
        else:
            coverage.stopped(name, compared.after)
        return compared.after is None

    def _fits(self, name: str) -> bool:
        """Return whether the time suffices for a table without a usable key, which cannot be compared in parts."""
        passed_s = time.monotonic() - self._started
        rate = max(_ROWS_PER_S, self.rows / passed_s if passed_s > 1 else 0.0)
        budget_s = self._ctx.cluster.validate.compare_budget
        needed_s = self.ours[name].rows_estimate / rate
        if needed_s > budget_s:
            self.left_out[name] = "no usable key, and too many rows for one cycle's validate.compare_budget"
        return needed_s <= budget_s - passed_s or not self.compared and needed_s <= budget_s

    def _over(self, share: float) -> bool:
        return (
            self.ended_for_ddl
            or time.monotonic() - self._started > share * self._ctx.cluster.validate.compare_budget
        )

    def _stop_waiting(self) -> bool:
        self._ctx.stop_if_cancelled()
        self._release_locks()
        return self._over(1.0)

    def _release_locks(self) -> None:
        """Release metadata locks, and end the pass if DDL waits for one that only the end of the snapshot releases.

        A transaction holds metadata locks on the tables that it has read. An ALTER that waits for one of them blocks
        all other sessions that use the table.
        """
        with asking_the_primary():
            self.ended_for_ddl = self.ended_for_ddl or not self._ctx.flavor.release_metadata_locks(
                self._sides.primary
            )

    def _plan(self, name: str) -> TablePlan | None:
        """Plan the comparison of a table; None if node and primary have not the same columns.

        The primary lists the columns of now. They are those of the snapshot as long as it can read the table.
        """
        table, sides = self.ours[name], self._sides
        columns = columns_of(sides.node, table)
        with asking_the_primary():
            theirs = columns_of(sides.primary, table)
        if found := other_columns(theirs, columns):
            fetch_theirs(sides.primary, f"SELECT 1 FROM {quoted_name(table)} LIMIT 1", [])
            self.unlike[name] = found
            return None
        self.plans[name] = plan_table(self._ctx.flavor, sides.node, table, columns)
        return self.plans[name]

    def _note(self, name: str, found: list[Difference]) -> None:
        self.compared.add(name)
        if found:
            self.differences[name] = [*self.differences.get(name, ()), *found]

    def _unless_taken(self, name: str, compare: Callable[[], T]) -> T | None:
        try:
            return compare()
        except PrimaryUnreachable as exc:
            raise classify_crash(self._ctx, name, self._up_since, exc) from exc
        except pymysql.err.MySQLError as exc:
            if not self._ctx.server.alive() or not exc.args:
                raise
            if exc.args[0] in _TAKEN_BY_DDL:
                self.taken.add(name)
            elif not self._leave_out(name):
                raise
            return None

    def _leave_out(self, name: str) -> bool:
        """Leave out a table if the primary cannot open it: that is its state, and no difference."""
        # The thread of the primary's connection may still be busy with the query that failed on the node.
        why = self._sides.pool.submit(unreadable, self._sides.primary, self.ours[name]).result()
        if why:
            self.left_out[name] = f"the primary does not open it: {why}"
        return name in self.left_out

    def _tell(self, name: str) -> Callable[[int], None]:
        def on_chunk(rows: int) -> None:
            self._ctx.stop_if_cancelled()
            self._ctx.report.count(rows, self._total, unit="rows", detail=name)
            self._release_locks()
            self.throttle.wait(self._stop_waiting)

        return on_chunk


def _stages(coverage: Coverage) -> Iterator[tuple[list[str], float]]:
    """Yield tables with the share of the time after which their comparison stops."""
    first, rest = coverage.first(), coverage.rest()
    yield first, _FIRST_SHARE if rest else 1.0
    yield rest, 1.0
    yield first, 1.0


def in_snapshot(sides: Sides, table: Table) -> bool:
    """Return whether the snapshot shows the table.

    The primary lists its current tables. The node cannot have a table yet that was created after the snapshot.
    """
    try:
        fetch(sides.primary, f"SELECT 1 FROM {quoted_name(table)} LIMIT 1", [])
    except pymysql.err.MySQLError as exc:
        if not exc.args or exc.args[0] not in _TAKEN_BY_DDL:
            raise
        return False
    return True


def names_of(ctx: JobContext, conn: Conn) -> set[str]:
    """Return all tables of users' schemas, including those that are not compared."""
    return {table.qualified for table in ctx.flavor.tables(conn)}


def matches(pattern: str, schema: str, name: str) -> bool:
    """Return whether a pattern of ``validate.exclude`` matches a table: ``shop.*`` none of ``shop.old``."""
    match = fnmatch.fnmatchcase
    points = [place for place, letter in enumerate(pattern) if letter == "."]
    if not points:
        return match(f"{schema}.{name}", pattern)
    return any(match(schema, pattern[:at]) and match(name, pattern[at + 1 :]) for at in points)


def excluded(ctx: JobContext, table: Table) -> bool:
    """Return whether ``validate.exclude`` excludes the table."""
    return any(matches(pattern, table.schema, table.name) for pattern in ctx.cluster.validate.exclude)


def _comparable(ctx: JobContext, conn: Conn, tables: Sequence[Table]) -> dict[str, Table]:
    left_out = ctx.flavor.uncompared(conn)
    return {t.qualified: t for t in tables if t.mvcc and t.qualified not in left_out and not excluded(ctx, t)}
