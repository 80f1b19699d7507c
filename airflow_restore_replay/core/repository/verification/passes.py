"""Passes of a verification: reading order, progress, and resuming after an interruption.

The repository keeps the progress as write-once records of *folders*, the first two digits of names. Any machine can
therefore resume a pass, and folders that were not read for the longest time come first.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from airflow_restore_replay.core.errors import Circumstance, Refused
from airflow_restore_replay.core.repository.format.records import Verification, new_id, utc_now
from airflow_restore_replay.core.repository.repository import Repository

log = logging.getLogger(__name__)

FOLDERS = tuple(f"{n:02x}" for n in range(256))
#: an interrupted pass is resumed within this time; after that, its results are too old to be combined with new ones
_RESUME_WITHIN = timedelta(days=7)
_CHECKPOINT_S = 60.0
_SUBSET = re.compile(r"([1-9]\d{0,2})/([1-9]\d{0,2})")


@dataclass(frozen=True)
class Scope:
    """Selection of what a pass reads.

    :param subset: ``n/t``: every *t*-th folder, starting with the *n*-th; empty for all.
    :param backup_id: chunks of this backup only; empty for those of all readable backups.
    """

    backup_id: str = ""
    subset: str = ""

    def folders(self) -> list[str]:
        """Return the selected folders.

        :raises Refused: *subset* is not of the form n/t with 1 ≤ n ≤ t ≤ 256.
        """
        if not self.subset:
            return list(FOLDERS)
        match = _SUBSET.fullmatch(self.subset)
        n, t = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= n <= t <= len(FOLDERS):
            raise Refused(f"The subset {self.subset!r} is not n/t with 1 ≤ n ≤ t ≤ {len(FOLDERS)}.")
        return list(FOLDERS[n - 1 :: t])


@dataclass(frozen=True)
class Pass:
    """A pass, new or resumed.

    :param done: folders that it has read already.
    :param verified_at: folder → when all of it was last read.
    """

    pass_id: str
    started_at: datetime
    done: frozenset[str]
    verified_at: Mapping[str, datetime]


def plan_pass(records: Iterable[Verification], scope: Scope, *, now: datetime, restart: bool) -> Pass:
    """Resume the newest pass of the same scope if it was interrupted, else begin a new one.

    :param restart: begin a new pass in any case.
    """
    records = sorted(records, key=lambda r: (r.at, r.verification_id))
    verified_at = {f: r.at for r in records if not r.backup_id for f in r.folders}
    same = [r for r in records if (r.backup_id, r.subset) == (scope.backup_id, scope.subset)]
    if restart or not same or now - same[-1].started_at > _RESUME_WITHIN:
        return Pass(new_id(now), now, frozenset(), verified_at)
    mine = [r for r in same if r.pass_id == same[-1].pass_id]
    if any(r.complete for r in mine):
        return Pass(new_id(now), now, frozenset(), verified_at)
    # Folders with damage are read again, so that the result of the resumed pass includes the damage.
    bad = {ref[:2] for r in mine for ref in r.bad}
    done = frozenset(f for r in mine for f in r.folders) - bad
    return Pass(mine[-1].pass_id, mine[-1].started_at, done, verified_at)


class Counts(Protocol):
    """Counters of a pass.

    :ivar unrecorded: why its progress could not be stored; empty if it was.
    """

    chunks: int
    size_bytes: int
    unrecorded: str


class Journal:
    """Records the progress of a pass; if the store is read-only, the pass continues without records."""

    def __init__(self, repository: Repository, scope: Scope, this: Pass, by: str, report: Counts) -> None:
        self._repository = repository
        self._scope = scope
        self._pass = this
        self._by = by
        self._report = report
        self._folders: list[str] = []
        self._written = time.monotonic()
        self._counted = (0, 0)
        self.bad: list[str] = []

    def done(self, folder: str) -> None:
        """Note that *folder* was read, and write a record if one is due."""
        self._folders.append(folder)
        if time.monotonic() - self._written > _CHECKPOINT_S:
            self.write()

    def write(self, *, complete: bool = False) -> None:
        """Record the folders and damage since the last record.

        :param complete: the pass ends with this record.
        """
        self._written = time.monotonic()
        at = utc_now()
        chunks, size_bytes = self._report.chunks, self._report.size_bytes
        record = Verification(
            verification_id=new_id(at),
            at=at,
            cluster=self._repository.cluster,
            by=self._by,
            pass_id=self._pass.pass_id,
            started_at=self._pass.started_at,
            backup_id=self._scope.backup_id,
            subset=self._scope.subset,
            folders=self._folders,
            complete=complete,
            chunks=chunks - self._counted[0],
            size_bytes=size_bytes - self._counted[1],
            bad=self.bad,
        )
        try:
            self._repository.record(record)
        except Circumstance as exc:
            self._report.unrecorded = exc.message
            log.warning("The progress is not stored: %s", exc.message)
        self._counted = chunks, size_bytes
        self._folders, self.bad = [], []
