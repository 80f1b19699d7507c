"""The attempts of a cycle: the jobs of each, how its node is filled, and which attempt follows a failure.

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
#: restores the backup that one of these attempts published, where ``prove`` is ``restored``
PROVE = "prove"
#: no attempt of a cycle: a restore for a person, or a drill; it holds no lease
RECOVERY = "recovery"


class JobName(StrEnum):
    """Name of a job that the agent runs on a node."""

    RESTORE = "restore"
    SEED = "seed"
    CATCH_UP = "catch_up"
    VALIDATE = "validate"
    SNAPSHOT = "snapshot"
    RECOVER = "recover"
    DRILL = "drill"


@dataclass(frozen=True)
class Attempt:
    """One try to make or prove a backup, on a replay node of its own.

    :param fill: the job that fills the node.
    :param then: the jobs after it, in order.
    :param standalone: the jobs do not connect to the primary.
    """

    name: str
    fill: JobName
    then: tuple[JobName, ...] = (JobName.CATCH_UP, JobName.VALIDATE, JobName.SNAPSHOT)
    standalone: bool = False

    @property
    def restores(self) -> bool:
        """Return whether the node is filled from a backup and so needs the server release of that backup.

        Otherwise the node needs the release of the primary.
        """
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
    """Next step of a run after a failed attempt.

    :param quarantine: quarantine the attempt's backup first.
    :param attempt: the next attempt of the run; None ends the run as failed.
    """

    quarantine: bool = False
    attempt: str | None = None


def next_step(attempt: str, blame: Blame, *, fallback: str, as_of: bool = False) -> Step:
    """Decide the next step of a run after a failed attempt.

    :param fallback: ``fallback`` of the cluster: ``full``, ``older_base`` or ``none``.
    :param as_of: the run rebuilds the backup of a past time, so a fresh full cannot replace it: it holds today's data.
    """
    if as_of or blame not in (Blame.BACKUP, Blame.STRANDED):
        return Step()
    quarantine = blame is Blame.BACKUP
    if attempt not in (REPLAY, OLDER) or fallback == "none":
        return Step(quarantine)
    if attempt == REPLAY and fallback == "older_base":
        return Step(quarantine, OLDER)
    return Step(quarantine, FULL)
