"""Check that the node has no errant transactions."""

from __future__ import annotations

from airflow_restore_replay.core.errors import (
    ErrantFromNode,
    RestoreReplayError,
)
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox
from airflow_restore_replay.core.jobs.context import JobContext


class NoErrantTransactionsCheck:
    """Check that the node has executed nothing that the primary's binary log lacks.

    :raises Stranded: the node has such a transaction, and a former primary wrote it.
    """

    name = "no_errant_transactions"
    cost = Cost.MOMENT
    blames: type[RestoreReplayError] = ErrantFromNode

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        # The node is read first: the primary, read afterwards, must have everything that the node had executed.
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
