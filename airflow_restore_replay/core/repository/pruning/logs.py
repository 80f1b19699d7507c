"""Interface of pruning to the archive of binary logs, whose own rules stand above the repository."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from airflow_restore_replay.core.repository.catalog import Backup
from airflow_restore_replay.core.repository.format.records import LogPiece, Manifest
from airflow_restore_replay.core.repository.format.refs import part_path
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo

#: keeps the record of a prune far below the size that readers accept; the next prune deletes the rest
MAX_DELETED = 100_000


@dataclass(frozen=True)
class DoomedLog:
    """A record of the archive that is to be deleted.

    :param why: kind of reason, for counts.
    """

    info: ObjectInfo
    reason: str
    why: str


@dataclass(frozen=True)
class LogPlan:
    """What pruning does with the archive.

    :param kept: number of records that stay.
    :param live: names of the parts that they need.
    """

    kept: int = 0
    delete: Sequence[DoomedLog] = ()
    live: frozenset[str] = frozenset()

    @property
    def counts(self) -> dict[str, int]:
        """Return kind of reason → number of records to be deleted."""
        return dict(Counter(doomed.why for doomed in self.delete))


class LogRules(Protocol):
    """The archive's retention, over the records as they were read once.

    :ivar withheld: why nothing can be deleted; empty otherwise.
    """

    @property
    def withheld(self) -> str: ...

    def needed(self, backups: Sequence[Backup]) -> Mapping[str, str]:
        """Return backup id → why the window needs it; the window needs as few of *backups* as possible."""
        ...

    def plan(self, bases: Iterable[Manifest]) -> LogPlan:
        """Plan which records are deleted, if *bases* are the backups that the window begins with or continues from."""
        ...

    def confirmed(self, doomed: Sequence[DoomedLog]) -> tuple[list[DoomedLog], dict[str, str]]:
        """Read what takes the place of *doomed*.

        :returns: those that can be deleted, and name of a record → why not, for the others.
        """
        ...


#: reads the archive, given the present time and the time before which records are old enough to be deleted
ReadRules = Callable[[Repository, datetime, datetime], LogRules]


@dataclass(frozen=True)
class NoLogs:
    """Rules that leave the archive as it is."""

    withheld: str = field(default="", init=False)

    def needed(self, backups: Sequence[Backup]) -> Mapping[str, str]:
        return {}

    def plan(self, bases: Iterable[Manifest]) -> LogPlan:
        return LogPlan()

    def confirmed(self, doomed: Sequence[DoomedLog]) -> tuple[list[DoomedLog], dict[str, str]]:
        return list(doomed), {}


def left_alone(repository: Repository, now: datetime, limit: datetime) -> LogRules:
    """Leave the archive as it is."""
    return NoLogs()


def parts_of(pieces: Iterable[LogPiece]) -> frozenset[str]:
    """Return names of the objects that *pieces* need."""
    return frozenset(part_path(part.object) for piece in pieces for part in piece.parts)
