"""Check that the node's error log reports no damage to its data."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from airflow_restore_replay.core.errors import (
    ErrorLogDirty,
    RestoreReplayError,
)
from airflow_restore_replay.core.flavor.errorlog import most_telling
from airflow_restore_replay.core.flavor.quoting import joined
from airflow_restore_replay.core.flavor.tables import unreadable
from airflow_restore_replay.core.jobs.checks import CheckResult, Cost, TimeBox, left_by_the_base
from airflow_restore_replay.core.jobs.checks.check_table import STATES, CheckTableCheck
from airflow_restore_replay.core.jobs.compare.files import table_of
from airflow_restore_replay.core.jobs.context import JobContext

_FILE = re.compile(r"'?\./([^\s'/]+/[^\s'/]+)'?")
_NAME = re.compile(r"`([^`]+)`\.`([^`]+)`")


class ErrorLogCheck:
    """Check that the server has not reported damage since it was started on the restored data.

    Lines about tables that the primary does not open either are no damage.
    """

    name = "error_log"
    cost = Cost.MOMENT
    blames: type[RestoreReplayError] = ErrorLogDirty

    def run(self, ctx: JobContext, box: TimeBox) -> CheckResult:
        lines = ctx.server.log_errors()
        if lines:
            lines = _of_others(lines, _as_on_primary(ctx, {name for line in lines for name in _tables(line)}))
        return CheckResult(
            name=self.name,
            passed=not lines,
            observed=most_telling(lines) if lines else "no error lines",
            expected="no error lines about data",
            details={"log": lines[:20]} if lines else {},
        )


def _of_others(lines: Sequence[str], states: Collection[str]) -> list[str]:
    return [line for line in lines if not (named := _tables(line)) or not named <= set(states)]


def _tables(line: str) -> set[str]:
    """Return the tables that a line names, as files or as quoted names."""
    named = {joined(schema, name) for schema, name in _NAME.findall(line)}
    return named | {name for path in _FILE.findall(line) if (name := table_of(path))}


def _as_on_primary(ctx: JobContext, names: Collection[str]) -> set[str]:
    """Return those of *names* that the primary does not open either, or, without a primary, did not open."""
    if not names:
        return set()
    if ctx.params.get("standalone"):
        return set(left_by_the_base(ctx, CheckTableCheck.name).get(STATES, {}))
    with ctx.flavor.connect(ctx.primary) as primary:
        return {
            t.qualified for t in ctx.flavor.tables(primary) if t.qualified in names and unreadable(primary, t)
        }
