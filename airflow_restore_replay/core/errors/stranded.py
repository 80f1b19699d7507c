"""Errors that end the use of a backup as a base, and keep it."""

from __future__ import annotations

from airflow_restore_replay.core.errors.base import Blame, RestoreReplayError


class Stranded(RestoreReplayError):
    """The backup can be restored but is no base any more; it is protected."""

    default_blame = Blame.STRANDED
    retryable = False


class BinlogPurged(Stranded):
    """The primary no longer has the binary logs that the backup needs."""

    advice = "Keep binary logs longer than two cycles."


class HistoryDiverged(Stranded):
    """The primary's history does not continue the backup's."""

    advice = "No action; keep the backup if it may hold what the primary lost."


class ErrantFromFormerPrimary(Stranded):
    """The backup has transactions that the primary lacks; it may be their only copy."""

    advice = "Find out what the failover lost before the backup is pruned."


class NotReplayable(Stranded):
    """The primary changed in a way that a node cannot replay, through no defect of the backup."""

    advice = "No action; a fresh full has what could not be replayed (`cycle --full` where fallback is none)."
