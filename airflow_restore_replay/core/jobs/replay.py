"""Replicate a node up to a fixed position: the loop that catch-up and validation share."""

from __future__ import annotations

import time
from dataclasses import dataclass

from airflow_restore_replay.core.errors import CatchUpDeadline, CatchUpStalled, ReplicationDenied
from airflow_restore_replay.core.flavor.values import Conn, Position, ReplicationStatus
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.repository.format.records import MAX_COUNT

_POLL_S = 0.2
_REST_S = 2.0


@dataclass(frozen=True)
class Replayed:
    """Result of a replication.

    :param position: position that the node reached.
    :param transactions: number of transactions that were applied.
    :param seconds: elapsed time.
    """

    position: Position
    transactions: int
    seconds: float


def replay_until(ctx: JobContext, goal: Position) -> Replayed:
    """Replicate until the node contains *goal*, and stop exactly there.

    The caller fixes the goal. Success is *executed ⊇ goal*, never a lag of zero, which a stopped replica reports, too.

    :raises CatchUpStalled: no progress for the stall timeout.
    :raises CatchUpDeadline: the goal was not reached by the deadline; the message has the rate and what is missing.
    :raises NodeServerCrashed: the node's server has ended.
    :raises RestoreReplayError: an error stopped a replication thread; classified.
    """
    started = time.monotonic()
    with ctx.crash_guard("replaying"), ctx.server.connect() as node:
        before = ctx.flavor.executed_position(node)
        if before.contains(goal):
            # The job that reached it may have been killed before it stopped replication.
            ctx.flavor.stop_replication(node)
            return Replayed(before, 0, 0.0)
        ctx.flavor.start_replication(node, ctx.primary, until=goal, appliers=ctx.appliers)
        status = _Watch(ctx, node, goal).run()
        ctx.flavor.stop_replication(node)
        reached = ctx.flavor.executed_position(node)
    return Replayed(reached, status.transactions, time.monotonic() - started)


def follow_primary(ctx: JobContext) -> Position:
    """Replay the node to the primary's current position.

    :returns: that position or a later one, which is the backup's position from then on.
    """
    with ctx.flavor.connect(ctx.primary) as primary:
        position = ctx.flavor.primary_position(primary)
    reached = replay_until(ctx, position).position
    with ctx.node.changing() as state:
        state.position = str(reached)
    return reached


def _at_rest(status: ReplicationStatus, goal: Position) -> bool:
    """Return whether replication has stopped before the goal and must be started again.

    The I/O thread may stop once it has received the goal, as MariaDB's does. Stopping the applier at that point would
    wait for the event that it is applying.
    """
    receiving = status.io_running or status.io_connecting or status.received.contains(goal)
    return not status.applier_running or not receiving


class _Watch:
    """Loop that watches one replication until the node contains the goal."""

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
                status.transactions,
                min(status.transactions + status.applied.count_lacking(self._goal), MAX_COUNT),
                unit="transactions",
                detail=f"at {str(status.applied)[:60]}",
            )
            time.sleep(_POLL_S)

    def _judge(self, status: ReplicationStatus, now: float) -> None:
        # Events received after the goal are no progress towards it.
        arriving = () if status.received.contains(self._goal) else status.arriving
        if (progress := (*status.progress, *arriving)) != self._progress:
            self._progress, self._moved = progress, now
        elif _at_rest(status, self._goal) and now - self._restarted > _REST_S:
            # Start again towards the same goal. A connection that breaks during the handshake stops the I/O thread for
            # good, and UNTIL stops the applier before every domain has reached its goal, because domains interleave.
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
            f"{self._ctx.primary}; it lacks {status.applied.lacking(self._goal)}.",
            hint="Check the network path and the replication account, or raise catch_up.stall_timeout.",
        )

    def _late(self, status: ReplicationStatus, now: float) -> CatchUpDeadline:
        rate = status.transactions / max(now - self._started, 1e-6)
        return CatchUpDeadline(
            f"Catch-up did not reach the goal within {self._policy.deadline:.0f} s: {status.transactions} "
            f"transactions at {rate:.0f}/s, lacking {status.applied.lacking(self._goal)}.",
            hint="Raise catch_up.deadline, shorten the schedule, or give the node more resources.",
        )
