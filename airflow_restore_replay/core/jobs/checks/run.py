"""Select the checks that a node has to pass, run them in order, and keep their results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.jobs.checks import (
    Check,
    CheckResult,
    TimeBox,
    failure_of,
    results_for_records,
)
from airflow_restore_replay.core.jobs.checks.assertions import AssertionsCheck
from airflow_restore_replay.core.jobs.checks.canary import CanaryCheck
from airflow_restore_replay.core.jobs.checks.check_table import CheckTableCheck
from airflow_restore_replay.core.jobs.checks.cold_pages import ColdPagesCheck
from airflow_restore_replay.core.jobs.checks.definitions import DefinitionsCheck
from airflow_restore_replay.core.jobs.checks.drop_guard import DropGuardCheck
from airflow_restore_replay.core.jobs.checks.error_log import ErrorLogCheck
from airflow_restore_replay.core.jobs.checks.goal_contained import GoalContainedCheck
from airflow_restore_replay.core.jobs.checks.no_errant_transactions import NoErrantTransactionsCheck
from airflow_restore_replay.core.jobs.checks.position import PositionCheck
from airflow_restore_replay.core.jobs.checks.same_data import SameDataCheck
from airflow_restore_replay.core.jobs.context import JobContext

log = logging.getLogger(__name__)

#: checks of ``validate.checks`` in their order: those that write to or query the primary first, the longest last,
#: because the comparison's position is the backup's
OPTIONAL: Mapping[str, Callable[[], Check]] = {
    CanaryCheck.name: CanaryCheck,
    AssertionsCheck.name: AssertionsCheck,
    DefinitionsCheck.name: DefinitionsCheck,
    ColdPagesCheck.name: ColdPagesCheck,
    CheckTableCheck.name: CheckTableCheck,
    DropGuardCheck.name: DropGuardCheck,
    SameDataCheck.name: SameDataCheck,
}
#: skipped in runs as of a past time, because the primary has moved on
_OF_NOW = (
    CanaryCheck.name,
    AssertionsCheck.name,
    DefinitionsCheck.name,
    DropGuardCheck.name,
    SameDataCheck.name,
)


def chosen(ctx: JobContext) -> list[Check]:
    """Return the checks of this cluster and run."""
    wanted = ctx.cluster.validate.checks
    names = [n for n in OPTIONAL if n in wanted and (ctx.as_of is None or n not in _OF_NOW)]
    # Repeated at the end, because damage may show only when a table is read, and the checks must not have made the node
    # write transactions of its own.
    return [
        GoalContainedCheck(),
        NoErrantTransactionsCheck(),
        ErrorLogCheck(),
        *(OPTIONAL[name]() for name in names),
        NoErrantTransactionsCheck(),
        ErrorLogCheck(),
    ]


def standalone_checks(ctx: JobContext) -> list[Check]:
    """Return the checks of a backup that was only restored, which need no primary."""
    cold: list[Check] = [ColdPagesCheck()] if ColdPagesCheck.name in ctx.cluster.validate.checks else []
    return [ErrorLogCheck(), PositionCheck(), *cold, CheckTableCheck(), ErrorLogCheck()]


def run_checks(ctx: JobContext, checks: Sequence[Check]) -> list[CheckResult]:
    """Run *checks*, and record their results in the node's state, even if one of them fails.

    :raises RestoreReplayError: the error of the first check that fails.
    """
    results: list[CheckResult] = []
    for check in checks:
        ctx.stop_if_cancelled()
        ctx.report.phase(check.name)
        result, error = _run(ctx, check)
        results.append(result)
        if result.unfinished:
            log.warning("%s: %s", check.name, result.unfinished)
        with ctx.node.changing() as state:
            state.facts.checks = results_for_records(results, carry=True)
        if error:
            raise error
    return results


def _run(ctx: JobContext, check: Check) -> tuple[CheckResult, RestoreReplayError | None]:
    started = time.monotonic()
    error: RestoreReplayError | None = None
    try:
        with ctx.crash_guard(f"checking {check.name}"):
            result = check.run(ctx, TimeBox(ctx.cluster.validate.time_box))
        if not result.passed:
            error = failure_of(check, result)
    except RestoreReplayError as exc:
        error = exc
        result = CheckResult(name=check.name, passed=False, observed=exc.message, expected="")
    seconds = round(time.monotonic() - started, 3)
    return msgspec.structs.replace(result, cost=check.cost.value, seconds=seconds), error
