"""Replication of a node up to a fixed position: the loop that both catch-up and validation use."""

from __future__ import annotations

import time
from dataclasses import dataclass

from airflow_restore_replay.core.errors import CatchUpDeadline, CatchUpStalled, ReplicationDenied
from airflow_restore_replay.core.flavor.values import Conn, Position, ReplicationStatus
from airflow_restore_replay.core.jobs.context import JobContext

_POLL_S = 0.2
_REST_S = 2.0


@dataclass(frozen=True)
class Replayed:
    """:param transactions: applied to get there. :param seconds: elapsed."""

    position: Position
    transactions: int
    seconds: float


def replay_until(ctx: JobContext, goal: Position) -> Replayed:
    """Replicate until the node contains *goal*, and stop exactly there.

    The goal is fixed by the caller: success is *executed ⊇ goal*, never a lag of zero, which a stopped
    replica reports too.

    :raises CatchUpStalled: nothing moved for the stall timeout.
    :raises CatchUpDeadline: still short of the goal at the deadline; has rate and shortfall.
    :raises NodeServerCrashed: the node's server is gone.
    :raises RestoreReplayError: what stopped a replication thread, classified.
    """
    started = time.monotonic()
    with ctx.crash_guard("replaying"), ctx.server.connect() as node:
        before = ctx.flavor.executed_position(node)
        if before.contains(goal):
            return Replayed(before, 0, 0.0)
        ctx.flavor.start_replication(node, ctx.primary, until=goal, appliers=ctx.appliers)
        status = _Watch(ctx, node, goal).run()
        ctx.flavor.stop_replication(node)
        reached = ctx.flavor.executed_position(node)
    return Replayed(reached, status.transactions, time.monotonic() - started)


def follow_primary(ctx: JobContext) -> Position:
    """Bring the node to where the primary is now.

    :returns: that position, or a later one; the node's data is the backup's at it from then on.
    """
    with ctx.flavor.connect(ctx.primary) as primary:
        position = ctx.flavor.primary_position(primary)
    reached = replay_until(ctx, position).position
    with ctx.node.changing() as state:
        state.position = str(reached)
    return reached


def _at_rest(status: ReplicationStatus, goal: Position) -> bool:
    """A receiver that has the goal may rest, as MariaDB's does; to stop the applier then would wait for its event."""
    receiving = status.io_running or status.io_connecting or status.received.contains(goal)
    return not status.applier_running or not receiving


class _Watch:
    """Watches one replication until the goal is contained."""

    def __init__(self, ctx: JobContext, node: Conn, goal: Position) -> None:
        self._ctx = ctx
        self._node = node
        self._goal = goal
        self._policy = ctx.cluster.catch_up
        self._started = self._moved = time.monotonic()
        self._restarted = self._started
        self._progress: tuple[object, ...] = ()

    def run(self) -> ReplicationStatus:
        while True:
            self._ctx.stop_if_cancelled()
            status = self._ctx.flavor.replication_status(self._node)
            if status.applied.contains(self._goal):
                return status
            if status.error:
                raise status.error
            self._judge(status, time.monotonic())
            self._ctx.report.count(
                status.transactions, unit="transactions", detail=f"at {str(status.applied)[:60]}"
            )
            time.sleep(_POLL_S)

    def _judge(self, status: ReplicationStatus, now: float) -> None:
        # What arrives after the goal is no step towards it.
        arriving = () if status.received.contains(self._goal) else status.arriving
        if (progress := (*status.progress, *arriving)) != self._progress:
            self._progress, self._moved = progress, now
        elif _at_rest(status, self._goal) and now - self._restarted > _REST_S:
            # A connection that broke amid the handshake stops the IO thread for good, and UNTIL stops the applier
            # before every domain has arrived, as they interleave: go on to the same goal.
            self._restarted = now
            self._ctx.flavor.stop_replication(self._node)
            self._ctx.flavor.start_replication(
                self._node, self._ctx.primary, until=self._goal, appliers=self._ctx.appliers
            )
        if now - self._moved > self._policy.stall_timeout:
            raise self._stalled(status)
        if now - self._started > self._policy.deadline:
            raise self._late(status, now)

    def _stalled(self, status: ReplicationStatus) -> CatchUpStalled | ReplicationDenied:
        what = "is still connecting to" if status.io_connecting else "received and applied nothing from"
        return CatchUpStalled(
            f"Catch-up stalled: for {self._policy.stall_timeout:.0f} s the node {what} the primary "
            f"{self._ctx.primary!r}; it lacks {status.applied.lacking(self._goal)}.",
            hint="Check the network path and the replication account, or raise catch_up.stall_timeout.",
        )

    def _late(self, status: ReplicationStatus, now: float) -> CatchUpDeadline:
        rate = status.transactions / max(now - self._started, 1e-6)
        return CatchUpDeadline(
            f"Catch-up did not reach the goal within {self._policy.deadline:.0f} s: {status.transactions} "
            f"transactions at {rate:.0f}/s, lacking {status.applied.lacking(self._goal)}.",
            hint="Raise catch_up.deadline, shorten the schedule, or give the node more resources.",
        )
