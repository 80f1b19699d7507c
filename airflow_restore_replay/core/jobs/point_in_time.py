"""The goal of a run as of a past time (a backfill), and the checks that such a run omits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.values import Cut, Position
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.times import stamp

#: a smaller difference between two clocks comes from the network, or does not matter
_CLOCKS_AGREE_S = 2.0


def goal_as_of(ctx: JobContext, as_of: datetime, *, clock_ahead_s: float) -> tuple[Position, datetime]:
    """Find the end of everything that the primary had logged before *as_of*, from the restored base's position on.

    :param clock_ahead_s: the primary's clock, which stamps the events, minus this host's, which freshness uses, in
        seconds.
    :returns: goal, and the time from which the backup's age counts.
    :raises PreflightFailed: *as_of* is not past by the primary's clock, or an event is stamped in the future.
    :raises BinlogPurged: the primary no longer has the needed binary logs.
    """
    now = datetime.now(UTC) + timedelta(seconds=clock_ahead_s)
    if as_of > now:
        raise PreflightFailed(
            f"{stamp(as_of)} is not past yet by the primary's clock, which shows {stamp(now)}.",
            hint="Set the clocks right, or wait.",
        )
    ctx.report.phase("reading the binary log", detail=f"up to {stamp(as_of)}")
    with ctx.server.connect() as node:
        start = ctx.flavor.executed_position(node)
    cut = ctx.flavor.cut_before(ctx.primary, as_of, start)
    refuse_stamp_in_future(cut, as_of, now)
    with ctx.node.changing() as state:
        state.facts.as_of = _facts(cut, clock_ahead_s)
    return cut.position, counts_from(as_of, clock_ahead_s)


def counts_from(as_of: datetime, clock_ahead_s: float) -> datetime:
    """Return the time by this host's clock at which the data was the primary's.

    It is earlier than *as_of* if the clock that stamped the data is ahead of this host's, and never later.
    """
    ahead_s = clock_ahead_s if clock_ahead_s > _CLOCKS_AGREE_S else 0.0
    return as_of - timedelta(seconds=round(ahead_s))


def refuse_stamp_in_future(cut: Cut, as_of: datetime, now: datetime) -> None:
    """Raise if the transaction after the cut is stamped in the future (``SET TIMESTAMP``, or a clock set back).

    Its stamp does not say when it was written, so a cut before it could be hours too early.

    :raises PreflightFailed: names that transaction.
    """
    if cut.next_stamped is not None and cut.next_stamped > now + timedelta(seconds=_CLOCKS_AGREE_S):
        raise PreflightFailed(
            f"The position of {stamp(as_of)} in the binary log cannot be determined: {cut.next_gtid} is stamped "
            f"{stamp(cut.next_stamped)}, and the primary's clock shows {stamp(now)}.",
            hint="A session used SET TIMESTAMP, or the primary's clock was set back. Rebuild an earlier time, "
            "from before that transaction, or let the next backup pass it first.",
            evidence={"gtid": cut.next_gtid},
        )


def _facts(cut: Cut, clock_ahead_s: float) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if cut.next_stamped is not None:
        facts = {"next_gtid": cut.next_gtid, "next_stamped": stamp(cut.next_stamped)}
    if abs(clock_ahead_s) > _CLOCKS_AGREE_S:
        facts["clock_ahead_s"] = round(clock_ahead_s)
    return facts


def refuse_beyond(goal: Position, reached: Position, as_of: datetime) -> None:
    """Raise if the node did not stop at the goal.

    :raises PreflightFailed: the node has later data.
    """
    if not goal.contains(reached):
        raise PreflightFailed(
            f"The node could not stop where the primary stood at {stamp(as_of)}: it is at {reached}, beyond {goal}.",
            hint="Temporary tables in a statement-based stream prevent it; use binlog_format=ROW.",
        )


def omitted(as_of: datetime) -> dict[str, Any]:
    """Return the manifest's entry about the comparison with the primary, which was omitted."""
    return {"omitted": f"as of {stamp(as_of)}: the primary has moved on"}
