"""The attempts of a cycle: which jobs each runs, what fills its node, and what follows it.

The DAG, ``run_cycle``, the operators and the messages all read :data:`ATTEMPTS` and :func:`next_step`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from airflow_restore_replay.core.errors import Blame

#: from the chosen base
REPLAY = "replay"
#: from the next healthy base, where ``fallback`` is ``older_base``
OLDER = "older"
#: from a fresh full copy of the primary
FULL = "full"
#: restores what one of these has published, where ``prove`` is ``restored``
PROVE = "prove"


class JobName(StrEnum):
    RESTORE = "restore"
    SEED = "seed"
    CATCH_UP = "catch_up"
    VALIDATE = "validate"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class Attempt:
    """One node's life.

    :param fill: the job that fills the node.
    :param then: the jobs after it, in order.
    :param standalone: its jobs leave the primary alone.
    """

    name: str
    fill: JobName
    then: tuple[JobName, ...] = (JobName.CATCH_UP, JobName.VALIDATE, JobName.SNAPSHOT)
    standalone: bool = False

    @property
    def restores(self) -> bool:
        """:returns: whether the node is filled from a backup, whose server release it then has; else it has the
        primary's."""
        return self.fill is JobName.RESTORE


ATTEMPTS = {
    attempt.name: attempt
    for attempt in (
        Attempt(REPLAY, JobName.RESTORE),
        Attempt(OLDER, JobName.RESTORE),
        Attempt(FULL, JobName.SEED),
        Attempt(PROVE, JobName.RESTORE, (JobName.VALIDATE,), standalone=True),
    )
}


@dataclass(frozen=True)
class Step:
    """What follows an attempt that failed.

    :param quarantine: its backup is quarantined first.
    :param attempt: the next attempt of the run; None ends the run as failed.
    """

    quarantine: bool = False
    attempt: str | None = None


def next_step(attempt: str, blame: Blame, *, fallback: str, as_of: bool = False) -> Step:
    """Decide what follows an attempt that failed.

    :param fallback: the cluster's: ``full``, ``older_base`` or ``none``.
    :param as_of: the run rebuilds the backup of a past time; a fresh full would hold today's data.
    """
    if as_of or blame not in (Blame.BACKUP, Blame.STRANDED):
        return Step()
    quarantine = blame is Blame.BACKUP
    if attempt not in (REPLAY, OLDER) or fallback == "none":
        return Step(quarantine)
    if attempt == REPLAY and fallback == "older_base":
        return Step(quarantine, OLDER)
    return Step(quarantine, FULL)
