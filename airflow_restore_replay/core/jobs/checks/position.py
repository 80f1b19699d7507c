"""Check that the restored server is at the position of the manifest."""

from __future__ import annotations

from airflow_restore_replay.core.errors import PositionMismatch, RestoreReplayError
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox
from airflow_restore_replay.core.jobs.context import JobContext


class PositionCheck:
    """Check that a server that was restored, and has replayed nothing yet, is at the position of the manifest."""

    name = "position"
    cost = Cost.MOMENT
    blames: type[RestoreReplayError] = PositionMismatch

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        said = ctx.flavor.parse_position(str(ctx.state.facts.fill["position"]))
        with ctx.server.connect() as node:
            found = ctx.flavor.executed_position(node)
        return CheckResult(
            name=self.name,
            passed=found.contains(said) and said.contains(found),
            observed=str(found),
            expected=str(said),
        )
