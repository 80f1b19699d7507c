"""Offer to the archive what a cycle has replayed, if no archiver is at work."""

from __future__ import annotations

import logging

from pymysql.err import MySQLError

from airflow_restore_replay.core.archive.archiver import Archiver
from airflow_restore_replay.core.archive.outcome import ArchiveReport
from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.errors import LeaseHeld, RestoreReplayError
from airflow_restore_replay.core.jobs.context import JobContext

LOG = logging.getLogger(__name__)


def offer_to_archive(ctx: JobContext) -> str:
    """Archive the binary logs up to the primary's present position.

    The backup does not depend on it, so a failure is only told.

    :returns: what was done, for people; empty if the cluster keeps no archive, or the run is about a past time.
    """
    if ctx.cluster.archive.keep is None or ctx.as_of is not None:
        return ""
    ctx.report.phase("archiving binary logs")
    archiver = Archiver(
        ctx.cluster,
        ctx.repository,
        ctx.request.secrets.primary_password,
        spool=ctx.node.path / "spool",
        say=lambda line: LOG.warning("%s", line),
        progress=lambda report: ctx.report.count(report.size_bytes, detail=report.log),
    )
    try:
        done = _told(archiver.run(follow=False, stopping=ctx.cancelled))
    except LeaseHeld as exc:
        done = f"nothing to do: {exc.message}"
    except (RestoreReplayError, MySQLError, OSError) as exc:
        LOG.warning("What was replayed is not archived: %s", exc)
        done = f"failed: {exc.message if isinstance(exc, RestoreReplayError) else exc}"
    ctx.stop_if_cancelled()
    return done


def _told(report: ArchiveReport) -> str:
    gaps = f", with {len(report.gaps)} gaps" if report.gaps else ""
    return f"{human_bytes(report.size_bytes)}, {report.transactions} transactions{gaps}"
