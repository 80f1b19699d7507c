"""Catch up: read the goal once, compare histories, replay until the node contains the goal."""

from __future__ import annotations

from typing import Any

from airflow_restore_replay.core.errors import NodeServerCrashed, NotReplayable, ReplayConflict, WrongPhase
from airflow_restore_replay.core.flavor.classify import ROWS_CONFLICT, TABLE_MISSING
from airflow_restore_replay.core.flavor.values import Position
from airflow_restore_replay.core.jobs.checks import left_by_the_base
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.fill import ensure_server, rebuild, refilling, refuse_missing_file
from airflow_restore_replay.core.jobs.node_state import require_phase
from airflow_restore_replay.core.jobs.offering import offer_to_archive
from airflow_restore_replay.core.jobs.point_in_time import goal_as_of, refuse_beyond
from airflow_restore_replay.core.jobs.preflight import refuse_unsuitable_primary
from airflow_restore_replay.core.jobs.protocol import Phase
from airflow_restore_replay.core.jobs.replay import Replayed, replay_until
from airflow_restore_replay.core.repository.format.records import utc_now


def catch_up(ctx: JobContext) -> dict[str, Any]:
    """Replay the node to the goal.

    The goal is the primary's position at the first call for this node. In a run as of a past time, it is the end of
    everything that the primary had logged before that time.

    After a conflict or a crash of the server, the node is rebuilt once, with one applier. Only a failure that recurs
    after the rebuild is evidence, and a missing table only if the base has recorded it.

    :returns: goal, goal_read_at, position, transactions, seconds, transactions_per_s, appliers, rebuilt, and what was
        archived of the binary logs.
    """
    require_phase(
        ctx.state,
        Phase.FILLED,
        Phase.REPLAYING,
        Phase.CAUGHT_UP,
        *refilling(ctx.state),
        job="catch_up",
        clear_from="restore_backup (or seed)",
    )
    fix_goal(ctx)
    replayed = catch_up_to_goal(ctx)
    state = ctx.state
    summary = {
        "goal": state.goal,
        "goal_read_at": state.goal_read_at.isoformat() if state.goal_read_at else "",
        "position": str(replayed.position),
        "transactions": replayed.transactions,
        "seconds": round(replayed.seconds, 3),
        "transactions_per_s": round(replayed.transactions / replayed.seconds) if replayed.seconds else 0,
        "appliers": ctx.appliers,
        "rebuilt": state.rebuilt,
    }
    if archived := offer_to_archive(ctx):
        summary["archive"] = archived
    with ctx.node.changing() as state:
        state.facts.catch_up = summary
    return summary


def fix_goal(ctx: JobContext) -> Position:
    """Read the goal, unless this node already has one. The goalposts don't move.

    :raises PrimaryUnreachable, PreflightFailed, NodeIsPrimary, ReleaseRefused: before anything is replayed.
    """
    state = ctx.state
    if state.goal:
        return ctx.flavor.parse_position(state.goal)
    ctx.report.phase("reading the goal")
    with ctx.flavor.connect(ctx.primary) as primary:
        if ctx.server.alive():
            with ctx.server.connect() as node:
                refuse_unsuitable_primary(ctx, primary, node)
        else:
            refuse_unsuitable_primary(ctx, primary, None)
        read_at = utc_now()
        goal = ctx.flavor.primary_position(primary)
        clock = ctx.flavor.clock(primary)
    if ctx.as_of is not None:
        ensure_server(ctx)
        check_history(ctx)
        goal, read_at = goal_as_of(ctx, ctx.as_of, clock_ahead_s=(clock - read_at).total_seconds())
    with ctx.node.changing() as state:
        state.goal, state.goal_read_at = str(goal), read_at
    return goal


def catch_up_to_goal(ctx: JobContext) -> Replayed:
    """Replay to the node's fixed goal; rebuild the node once after a conflict or a crash."""
    if ctx.state.goal_read_at is None:
        raise WrongPhase(
            f"Node {ctx.state.node_id} has no goal to catch up to.",
            hint="Clear the run from the task catch_up.",
        )
    goal = ctx.flavor.parse_position(ctx.state.goal)
    ensure_server(ctx)
    while True:
        try:
            check_history(ctx)
            ctx.node.set_phase(Phase.REPLAYING)
            ctx.report.phase("catching up")
            replayed = replay_until(ctx, goal)
            if ctx.as_of is not None:
                refuse_beyond(goal, replayed.position, ctx.as_of)
            break
        except (ReplayConflict, NodeServerCrashed, NotReplayable) as exc:
            # DDL beside a dump may leave a node on which the binary log cannot be replayed, and a second dump cures it.
            if isinstance(exc, NotReplayable) and not ctx.is_full:
                raise
            refuse_missing_file(ctx)
            rebuild(ctx, exc)
            if isinstance(exc, ReplayConflict):
                refuse_to_blame(ctx, exc)
    ctx.node.set_phase(Phase.CAUGHT_UP)
    return replayed


def refuse_to_blame(ctx: JobContext, conflict: ReplayConflict) -> None:
    """Raise if the conflict is about a table that is not the base's; the node was just filled from it again.

    :raises NotReplayable: the applier missed a table that the base has, or never had; or rows conflict in a table that
        was made since, so that none of them come from the base.
    """
    name, error = conflict.evidence.get("table"), conflict.evidence.get("error")
    if ctx.is_full or not name or error not in (TABLE_MISSING, *ROWS_CONFLICT):
        return
    with ctx.server.connect() as node:
        there = any(table.qualified == name for table in ctx.flavor.tables(node))
    recorded = left_by_the_base(ctx, "same_data").get("tables")
    made_since = not there and recorded is not None and name not in recorded
    if error == TABLE_MISSING and (there or made_since):
        has = "has it" if there else "was made when the primary had no such table"
        raise NotReplayable(
            f"The binary log lacks what was done to table {name}, of which the base {has}: {conflict.message}",
            evidence=conflict.evidence,
        )
    if error in ROWS_CONFLICT and made_since:
        raise NotReplayable(
            f"The rows that conflict are in table {name}, which was made after the base: {conflict.message}",
            evidence=conflict.evidence,
        )


def check_history(ctx: JobContext) -> None:
    """Refuse, before replay, a base that the primary's binary log does not continue.

    Only a restored base can have another history. The data of a seed comes from the primary as it is now.
    """
    state = ctx.state
    if state.filled_from is None or state.filled_from.kind != "backup" or state.phase is not Phase.FILLED:
        return
    ctx.report.phase("comparing histories")
    recorded = state.facts.base_chains
    with ctx.server.connect() as node:
        position = ctx.flavor.executed_position(node)
    ctx.flavor.check_history(ctx.primary, position, recorded)
