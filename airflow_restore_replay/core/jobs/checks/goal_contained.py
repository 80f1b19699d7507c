"""Check that the node has executed the goal."""

from __future__ import annotations

from airflow_restore_replay.core.errors import (
    InternalError,
    RestoreReplayError,
)
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox
from airflow_restore_replay.core.jobs.context import JobContext


class GoalContainedCheck:
    """Check that the node has executed the goal.

    A failure is an internal error, because catch-up reported that the goal was reached.
    """

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
