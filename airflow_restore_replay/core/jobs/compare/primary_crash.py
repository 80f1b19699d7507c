"""A primary that dies of reading its own rows: MySQL does, over a page that is corrupt."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_restore_replay.core.errors import PrimaryUnreachable, RestoreReplayError, SourceCorrupt
from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.jobs.compare.ranges import fetch_theirs
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.repository.format.records import Verdict, utc_now

_EVIDENCE = "died_reading"
#: the server counts whole seconds
_SLACK = timedelta(seconds=2)


def up_since(primary: Conn) -> datetime:
    """:returns: when the server was started, by this machine's clock."""
    ((_, seconds),) = fetch_theirs(primary, "SHOW GLOBAL STATUS LIKE 'Uptime'", [])
    return utc_now() - timedelta(seconds=int(seconds))


def classify_crash(
    ctx: JobContext, table: str, started: datetime, lost: PrimaryUnreachable
) -> RestoreReplayError:
    """Once is chance. A primary that went away while it read a table, was started since, and goes again over the same
    table is rotten there; to try further would take it down each time.

    :param started: when the primary was started that was lost.
    :returns: the error to end with.
    """
    if not _gone(ctx, started):
        return lost
    before = [v for v in _deaths(ctx, table) if v.at < started + _SLACK]
    if before:
        return SourceCorrupt(
            f"The primary dies when it reads {table}: in run {before[-1].run}, and now, after a restart, again.",
            hint="Look at the end of its error log, and repair the table; the last good backup is kept.",
            evidence={_EVIDENCE: table},
        )
    return PrimaryUnreachable(
        f"The primary went away while it read {table}.",
        hint="Look at the end of its error log. If it dies over that table once more, the cluster is held.",
        evidence={_EVIDENCE: table},
    )


def _gone(ctx: JobContext, started: datetime) -> bool:
    """:returns: whether no server answers any more, or one that was started meanwhile."""
    try:
        with ctx.flavor.connect(ctx.primary) as primary:
            return up_since(primary) > started + _SLACK
    except PrimaryUnreachable:
        return True


def _deaths(ctx: JobContext, table: str) -> list[Verdict]:
    """:returns: verdicts that tell of one, since the last backup."""
    since = ctx.previous.created_at if ctx.previous else None
    return [
        v
        for v in ctx.repository.catalog().verdicts
        if v.failure and v.failure.evidence.get(_EVIDENCE) == table and (since is None or v.at > since)
    ]
