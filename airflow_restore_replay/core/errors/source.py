"""Errors that blame the primary."""

from __future__ import annotations

from airflow_restore_replay.core.errors.base import Blame, RestoreReplayError


class SourceFault(RestoreReplayError):
    """The primary is at fault; the last good backup is kept from retention."""

    default_blame = Blame.SOURCE
    retryable = False


class SourceCorrupt(SourceFault):
    """The primary's own data is damaged."""

    advice = "Repair the primary's table or disk, then release the hold if there is one."


class SourceDrift(SourceFault):
    """The primary has data that never went through its binary log."""

    advice = "Find what writes without the binary log, or list the table in validate.exclude."


class SourceFiltered(SourceFault):
    """The primary filters its binary log, so no replica can equal it."""

    advice = "Remove the binary log filters of the primary."


class SourceShrank(SourceFault):
    """The primary has far fewer rows than when the last backup was made."""

    advice = "Check which rows are gone; restore them, or release the hold."


class SourceUnexpected(SourceFault):
    """A user's assertion does not hold on the primary's own data."""

    advice = "Check the data on the primary, and the value that the assertion expects."


class Held(SourceFault):
    """The cluster is on hold: nothing is published until a person releases it."""

    advice = "Repair the primary, then run `restore-replay release --hold`."
