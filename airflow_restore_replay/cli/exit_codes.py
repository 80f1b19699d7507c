"""Exit codes of the command line. They are stable, because scripts depend on them; docs/cli.md lists them.

Only ``freshness`` and ``status`` use the codes of Nagios instead (:class:`Nagios`).
"""

from __future__ import annotations

from enum import IntEnum

from airflow_restore_replay.core.errors import Blame, Refused, error_class
from airflow_restore_replay.core.errors.failure import Failure


class Exit(IntEnum):
    """Exit codes of all commands but those two, one for each next step of the user."""

    OK = 0
    ENVIRONMENT = 1  # store, network, node, disk, credentials: try again; no backup is blamed
    REFUSED = 2  # usage or precondition: nothing was started, and the message says what to change
    SOURCE = 3  # the primary itself is at fault
    BACKUP = 4  # evidence against a backup
    STRANDED = 5  # restorable, but the primary cannot continue it
    INTERNAL = 70  # an exception in the package's own code
    INTERRUPTED = 130  # Ctrl-C


class Nagios(IntEnum):
    """Exit codes of a Nagios plugin. An unknown age counts as stale, so it is CRITICAL; only ``status`` warns."""

    OK = 0
    WARNING = 1  # not urgent
    CRITICAL = 2
    UNKNOWN = 3  # the check itself is misconfigured


_BY_BLAME = {
    Blame.BACKUP: Exit.BACKUP,
    Blame.STRANDED: Exit.STRANDED,
    Blame.SOURCE: Exit.SOURCE,
    Blame.ENVIRONMENT: Exit.ENVIRONMENT,
}


def exit_code(failure: Failure) -> Exit:
    """Return the exit code for *failure*: by its class if it is a refusal or a bug, else by its blame."""
    kind = error_class(failure.code)
    if failure.code == "InternalError":
        return Exit.INTERNAL
    if kind and issubclass(kind, Refused):
        return Exit.REFUSED
    return _BY_BLAME[failure.blame]
