"""Classify a primary that crashes while it reads its own rows, as MySQL does when a page is corrupt."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_restore_replay.core.errors import PrimaryUnreachable, RestoreReplayError, SourceCorrupt
from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.jobs.compare.ranges import fetch_theirs
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.repository.format.records import Verdict, utc_now

_EVIDENCE = "died_reading"
#: the server reports its uptime in whole seconds
_SLACK = timedelta(seconds=2)


def up_since(primary: Conn) -> datetime:
    """Return when the server was started, by this host's clock."""
    ((_, seconds),) = fetch_theirs(primary, "SHOW GLOBAL STATUS LIKE 'Uptime'", [])
    return utc_now() - timedelta(seconds=int(seconds))


def classify_crash(
    ctx: JobContext, table: str, started: datetime, lost: PrimaryUnreachable
) -> RestoreReplayError:
    """Classify a loss of the primary during the comparison of *table*.

    A first crash blames the environment, because it may be chance. If the primary was restarted since and crashes again
    while it reads the same table, that table is corrupt. Further tries would crash the primary each time.

    :param started: when the lost primary was started.
    :param lost: the error of the lost connection.
    :returns: the error for the job.
    """
    if not _gone(ctx, started):
        return lost
    before = [v for v in _deaths(ctx, table) if v.at < started + _SLACK]
    if before:
        return SourceCorrupt(
            f"The primary crashes when it reads {table}: in run {before[-1].run}, and now, after a restart, again.",
            hint="Look at the end of its error log, and repair the table; the last good backup is kept.",
            evidence={_EVIDENCE: table},
        )
    return PrimaryUnreachable(
        f"The primary went away while it read {table}.",
        hint="Look at the end of its error log. If it crashes at that table again, the cluster is put on hold.",
        evidence={_EVIDENCE: table},
    )


def _gone(ctx: JobContext, started: datetime) -> bool:
    """Return whether the primary is unreachable, or was restarted meanwhile."""
    try:
        with ctx.flavor.connect(ctx.primary) as primary:
            return up_since(primary) > started + _SLACK
    except PrimaryUnreachable:
        return True


def _deaths(ctx: JobContext, table: str) -> list[Verdict]:
    """Return the verdicts since the last backup about a crash of the primary over *table*."""
    since = ctx.previous.created_at if ctx.previous else None
    return [
        v
        for v in ctx.repository.catalog().verdicts
        if v.failure and v.failure.evidence.get(_EVIDENCE) == table and (since is None or v.at > since)
    ]
