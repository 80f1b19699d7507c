"""The texts of a message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from airflow_restore_replay.core.decisions.attempts import FULL, OLDER
from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.errors.failure import Failure

TASK_FAILURE = "task_failure"
RUN_FAILURE = "run_failure"
QUARANTINE = "quarantine"
RECOVERY = "recovery"
GAP = "gap"

#: Slack refuses a section of more than 3000 characters.
_MAX_VALUE = 1200

_BLAMES = {
    Blame.BACKUP: "the backup",
    Blame.STRANDED: "no party: the backup is restorable, but the primary can no longer continue it",
    Blame.SOURCE: "the primary",
    Blame.ENVIRONMENT: "the environment (store, network, node, credentials); no backup",
}
_TODO = {
    Blame.SOURCE: "Look at the primary; no backup was quarantined.",
    Blame.ENVIRONMENT: "When the cause is gone, trigger the DAG again; older backups are unaffected.",
}
#: Attempt → sentence about it; in messages it follows the word "and".
FOLLOWS = {
    OLDER: "the run tries the next older healthy backup before it takes a fresh full",
    FULL: "the run takes a fresh full copy of the primary",
}


@dataclass(frozen=True)
class CycleMessage:
    """Message about one occasion, for any notifier.

    :param occasion: ``task_failure``, ``run_failure``, ``quarantine``, ``recovery`` or ``gap``.
    :param what: what happened, and where.
    :param blames: what the failure blames.
    :param backup_id: the backup concerned; empty if there is none.
    :param cluster: the cluster's name; empty if the run's DAG is not about exactly one.
    :param age: age of the newest healthy backup; ``unknown`` if the repository cannot be read, empty without a cluster.
    :param todo: what a person should do.
    :param log_url: URL of the log in Airflow.
    """

    occasion: str
    cluster: str
    title: str
    what: str
    blames: str
    backup_id: str
    age: str
    todo: str
    log_url: str
    run: str

    @property
    def rows(self) -> dict[str, str]:
        """Return the parts of the message by heading; empty parts are left out."""
        rows = {
            "What": self.what,
            "Blames": self.blames,
            "Backup": self.backup_id,
            "Newest healthy backup": self.age,
            "To do": self.todo,
            "Run": self.run,
        }
        return {heading: _cut(value) for heading, value in rows.items() if value}

    @property
    def text(self) -> str:
        """Return the message as plain text: the title, one line for each row, and the log's URL."""
        rows = [f"{heading}: {value}" for heading, value in self.rows.items()]
        return "\n".join([self.title, *rows, f"Log: {self.log_url}"])

    @property
    def mrkdwn(self) -> str:
        """Return the rows and the log's URL in Slack's mrkdwn, without the title."""
        rows = [f"*{heading}:* {_escape(value)}" for heading, value in self.rows.items()]
        return "\n".join([*rows, f"<{self.log_url}|Log>"])[:2990]

    def lasting(self, since: datetime, runs: int) -> CycleMessage:
        """Return the message about a finding that was told before.

        :param runs: in how many runs it was found since.
        """
        return replace(self, title=f"{self.title} (still, since {since:%Y-%m-%d %H:%M} UTC, {runs} runs)")

    @property
    def icon(self) -> str:
        """Return a symbol for good or bad news that every client can display."""
        return (
            "\N{WHITE HEAVY CHECK MARK}" if self.occasion == RECOVERY else "\N{POLICE CARS REVOLVING LIGHT}"
        )

    @property
    def headline(self) -> str:
        """Return icon and title, cut to fit Slack's header."""
        return _cut(f"{self.icon} {self.title}", 145)


def blames(failure: Failure | None) -> str:
    """Return what *failure* blames, in words."""
    return _BLAMES[failure.blame] if failure else "not known: no attempt left a record"


def describe(failure: Failure) -> str:
    """Return code and message of *failure*."""
    return f"{failure.code}: {failure.message}"


def advice(failure: Failure | None, *, follows: str | None, cycle: bool = True) -> str:
    """Return what a person should do next.

    :param follows: the attempt of the same run that comes next; None if the run is over.
    :param cycle: whether the run is one that makes a backup.
    """
    if failure is None:
        return "Look at the log of the failed task."
    if failure.blame in _TODO:
        todo = _TODO[failure.blame]
    elif not cycle:
        todo = "The next cycle starts from another backup, or takes a fresh full."
    elif follows is None:
        todo = "Trigger the DAG again: it chooses another base, or takes a fresh full."
    else:
        excluded = "the backup is excluded, and " if failure.blame is Blame.BACKUP else ""
        todo = f"Nothing is urgent: {excluded}{FOLLOWS[follows]}."
    return f"{failure.hint} {todo}".strip()


def _cut(text: str, limit: int = _MAX_VALUE) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
