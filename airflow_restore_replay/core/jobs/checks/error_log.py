"""Check that the node's error log reports no damage to its data."""

from __future__ import annotations

from airflow_restore_replay.core.errors import (
    ErrorLogDirty,
    RestoreReplayError,
)
from airflow_restore_replay.core.flavor.errorlog import most_telling
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox
from airflow_restore_replay.core.jobs.context import JobContext


class ErrorLogCheck:
    """Check that the server has not reported damage since it was started on the restored data."""

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
