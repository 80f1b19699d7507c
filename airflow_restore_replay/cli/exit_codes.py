"""What the command line's exit codes say. They are stable: scripts depend on them; docs/cli.md lists them.

``freshness`` alone speaks Nagios instead (:class:`Nagios`).
"""

from __future__ import annotations

from enum import IntEnum

from airflow_restore_replay.core.errors import Blame, Refused, error_class
from airflow_restore_replay.core.errors.failure import Failure


class Exit(IntEnum):
    """One code for each answer to "what do I do now?"."""

    OK = 0
    ENVIRONMENT = 1  # store, network, node, disk, credentials: try again, nothing is known against a backup
    REFUSED = 2  # usage or precondition: nothing was started; the message says what to change
    SOURCE = 3  # the primary itself is at fault
    BACKUP = 4  # evidence against a backup
    STRANDED = 5  # restorable, but the primary cannot continue it
    INTERNAL = 70  # an exception in our own code
    INTERRUPTED = 130  # Ctrl-C


class Nagios(IntEnum):
    """The plugin convention; WARNING is never used. An age that is not known is stale, hence CRITICAL."""

    OK = 0
    CRITICAL = 2
    UNKNOWN = 3  # the check itself is misconfigured


_BY_BLAME = {
    Blame.BACKUP: Exit.BACKUP,
    Blame.STRANDED: Exit.STRANDED,
    Blame.SOURCE: Exit.SOURCE,
    Blame.ENVIRONMENT: Exit.ENVIRONMENT,
}


def exit_code(failure: Failure) -> Exit:
    """:returns: the exit code for *failure*: its class decides where it was refused, else whom it blames."""
    kind = error_class(failure.code)
    if failure.code == "InternalError":
        return Exit.INTERNAL
    if kind and issubclass(kind, Refused):
        return Exit.REFUSED
    return _BY_BLAME[failure.blame]
