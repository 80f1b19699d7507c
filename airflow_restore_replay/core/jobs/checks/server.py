"""Checks of the server as a whole: error log, goal, errant transactions, CHECK TABLE."""

from __future__ import annotations

from airflow_restore_replay.core.errors import (
    ErrantFromNode,
    ErrorLogDirty,
    InternalError,
    RestoreReplayError,
    TableCheckFailed,
)
from airflow_restore_replay.core.flavor.errorlog import most_telling
from airflow_restore_replay.core.flavor.values import Conn, Table
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, Rotation, TimeBox, carried
from airflow_restore_replay.core.jobs.context import JobContext


class ErrorLogClean:
    """The server has not reported damage since it was started on the restored data."""

    name = "error_log"
    cost = Cost.MOMENT
    blames: type[RestoreReplayError] = ErrorLogDirty

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        lines = ctx.server.log_errors()
        return CheckResult(
            name=self.name,
            passed=not lines,
            observed=most_telling(lines) if lines else "no error lines",
            expected="no error lines about data",
            details={"log": lines[:20]} if lines else {},
        )


class GoalContained:
    """The node has executed the goal. A failure is ours: catch-up said that it was reached."""

    name = "goal_contained"
    cost = Cost.MOMENT
    blames: type[RestoreReplayError] = InternalError

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        goal = ctx.flavor.parse_position(ctx.state.goal)
        with ctx.server.connect() as node:
            executed = ctx.flavor.executed_position(node)
        return CheckResult(
            name=self.name,
            passed=executed.contains(goal),
            observed=str(executed),
            expected=f"to contain {goal}",
        )


class NoErrantTransactions:
    """The node has executed nothing that the primary's binary log lacks.

    :raises Stranded: it has, and a former primary wrote it.
    """

    name = "no_errant_transactions"
    cost = Cost.MOMENT
    blames: type[RestoreReplayError] = ErrantFromNode

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        # The node is read first: what it has executed by then, the primary must have by now.
        with ctx.server.connect() as node:
            executed = ctx.flavor.executed_position(node)
        with ctx.flavor.connect(ctx.primary) as primary:
            logged = ctx.flavor.primary_position(primary)
        lacking = logged.lacking(executed)
        if not logged.contains(executed):
            ctx.flavor.check_history(ctx.primary, executed, [])
        return CheckResult(
            name=self.name,
            passed=logged.contains(executed),
            observed=f"{lacking} only on the node" if lacking else "none",
            expected="none",
        )


class CheckTables:
    """``CHECK TABLE`` on every base table, with the cluster's thoroughness."""

    name = "check_table"
    cost = Cost.READS_DATA
    blames: type[RestoreReplayError] = TableCheckFailed

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        option = ctx.cluster.validate.check_table.upper()
        damaged: dict[str, str] = {}
        with ctx.server.connect() as node:
            tables = {table.qualified: table for table in ctx.flavor.tables(node)}
            turn = Rotation(tables, carried(ctx, self.name).get("last", ""))
            for name in turn.until(lambda: box.over):
                ctx.stop_if_cancelled()
                if complaint := _check(node, tables[name], option):
                    damaged[name] = complaint
                ctx.report.count(turn.done, len(tables), unit="tables", detail=name)
        first = next(iter(damaged.items()), None)
        return CheckResult(
            name=self.name,
            passed=not damaged,
            observed=f"{len(damaged)} damaged, first {first[0]}: {first[1]}"
            if first
            else f"{turn.done} intact",
            expected="every table intact",
            details={"tables": damaged} if damaged else {},
            unfinished=turn.unfinished,
            carry=turn.carry,
        )


def _check(node: Conn, table: Table, option: str) -> str:
    """:returns: what the server says against the table, ``""`` for nothing."""
    schema, name = (part.replace("`", "``") for part in (table.schema, table.name))
    with node.cursor() as cursor:
        cursor.execute(f"CHECK TABLE `{schema}`.`{name}` {option}")
        rows = cursor.fetchall()
    bad = [str(text) for _, _, kind, text in rows if kind.lower() == "error"]
    status = [str(text) for _, _, kind, text in rows if kind.lower() == "status"]
    if bad or (status and status[-1] not in ("OK", "Table is already up to date")):
        return "; ".join(bad or status)
    return ""
