"""Validate: run the checks on a restored, running, caught-up node."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from pymysql.err import MySQLError

from airflow_restore_replay.core.errors import (
    Blame,
    Circumstance,
    DataMismatch,
    NodeServerCrashed,
    ReplayConflict,
    RestoreReplayError,
)
from airflow_restore_replay.core.jobs.catch_up import catch_up_to_goal, refuse_to_blame
from airflow_restore_replay.core.jobs.checks import CheckResult, results_for_records
from airflow_restore_replay.core.jobs.checks.run import chosen, run_checks, standalone_checks
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.fill import ensure_server, rebuild, refilling
from airflow_restore_replay.core.jobs.node_state import require_phase
from airflow_restore_replay.core.jobs.point_in_time import omitted
from airflow_restore_replay.core.jobs.preflight import refuse_hidden
from airflow_restore_replay.core.jobs.protocol import Phase


def validate(ctx: JobContext) -> dict[str, Any]:
    """Run the checks; the node ends at the comparison position, which is the backup's.

    With ``params["standalone"]``, check a node that was only restored, without the primary. That proves the backup if
    the run has just published it.

    A run as of a past time has no comparison, because the primary has moved on. Its node stays where catch-up ended.

    :returns: position, checks, compared, seconds.
    :raises RestoreReplayError: the class of the first failed check.
    """
    if ctx.params.get("standalone"):
        return _validate_restored(ctx)
    require_phase(
        ctx.state,
        Phase.CAUGHT_UP,
        Phase.VALIDATED,
        *refilling(ctx.state),
        job="validate",
        clear_from="restore_backup (or seed)",
    )
    started = time.monotonic()
    if ensure_server(ctx) or ctx.state.phase not in (Phase.CAUGHT_UP, Phase.VALIDATED):
        catch_up_to_goal(ctx)
    results = validate_node(ctx)
    state = ctx.state
    return {
        "position": state.position,
        "checks": results_for_records(results),
        "compared": {k: v for k, v in state.facts.compared.items() if k != "uncompared"},
        "uncompared": len(state.facts.compared.get("uncompared", {})),
        "seconds": round(time.monotonic() - started, 3),
    }


def _validate_restored(ctx: JobContext) -> dict[str, Any]:
    """Check a node that was only restored, and leave it in its phase, from which it cannot be published."""
    require_phase(
        ctx.state, Phase.FILLED, *refilling(ctx.state), job="standalone validate", clear_from="restore_backup"
    )
    started = time.monotonic()
    ensure_server(ctx)
    results = run_checks(ctx, standalone_checks(ctx))
    with ctx.server.connect() as node:
        position = ctx.flavor.executed_position(node)
    return {
        "position": str(position),
        "checks": results_for_records(results),
        "compared": {"omitted": "standalone"},
        "uncompared": 0,
        "seconds": round(time.monotonic() - started, 3),
    }


def validate_node(ctx: JobContext) -> list[CheckResult]:
    """Run the checks; a mismatch, a conflict or a crash counts only if it recurs after a rebuild with one applier.

    A mismatch right after a fresh full counts at once and blames the source, because no fresher copy exists.
    """
    while True:
        try:
            results = _run_checks(ctx)
            break
        except (DataMismatch, ReplayConflict, NodeServerCrashed) as exc:
            if ctx.is_full and isinstance(exc, DataMismatch):
                raise
            rebuild(ctx, exc)
            if isinstance(exc, ReplayConflict):
                refuse_to_blame(ctx, exc)
            catch_up_to_goal(ctx)
    ctx.node.set_phase(Phase.VALIDATED)
    return results


def _run_checks(ctx: JobContext) -> list[CheckResult]:
    with ctx.node.changing() as state:
        state.position = state.facts.catch_up.get("position", state.goal)
        if ctx.as_of is not None:
            state.facts.compared = omitted(ctx.as_of)
        elif "same_data" not in ctx.cluster.validate.checks:
            state.facts.compared = {"omitted": "not among validate.checks"}
    try:
        return run_checks(ctx, chosen(ctx))
    except (RestoreReplayError, MySQLError) as exc:
        if isinstance(exc, MySQLError) or exc.blame is not Blame.ENVIRONMENT:
            # What the account may not see any more looks as if the primary had dropped it. A primary that does not
            # answer hides nothing: reading a corrupt page may have ended it.
            with contextlib.suppress(Circumstance, MySQLError), ctx.flavor.connect(ctx.primary) as primary:
                refuse_hidden(ctx, primary)
        raise
