"""Passes of a verification: what is read in which order, and how one goes on after an interruption.

Progress is kept in the repository, by write-once records of *folders*: the first two digits of chunks' names. So it
does not matter which machine goes on, and folders that were not looked at for the longest time come first.
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
#: an interrupted pass is gone on with for so long; then what it read is too old to be part of one result
_RESUME_WITHIN = timedelta(days=7)
_CHECKPOINT_S = 60.0
_SUBSET = re.compile(r"([1-9]\d{0,2})/([1-9]\d{0,2})")


@dataclass(frozen=True)
class Scope:
    """What a pass reads.

    :param subset: ``n/t``: every *t*-th folder, beginning with the *n*-th; empty for all.
    :param backup_id: chunks of this backup only; empty for those of all readable backups.
    """

    backup_id: str = ""
    subset: str = ""

    def folders(self) -> list[str]:
        """:raises Refused: *subset* is not of the form n/t with 1 ≤ n ≤ t ≤ 256."""
        if not self.subset:
            return list(FOLDERS)
        match = _SUBSET.fullmatch(self.subset)
        n, t = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= n <= t <= len(FOLDERS):
            raise Refused(f"The subset {self.subset!r} is not n/t with 1 ≤ n ≤ t ≤ {len(FOLDERS)}.")
        return list(FOLDERS[n - 1 :: t])


@dataclass(frozen=True)
class Pass:
    """:param done: folders that it has behind it. :param verified_at: folder → when all of it was last read."""

    pass_id: str
    started_at: datetime
    done: frozenset[str]
    verified_at: Mapping[str, datetime]


def plan_pass(records: Iterable[Verification], scope: Scope, *, now: datetime, restart: bool) -> Pass:
    """Go on with the newest pass of the same scope if it was interrupted, else begin one."""
    records = sorted(records, key=lambda r: (r.at, r.verification_id))
    verified_at = {f: r.at for r in records if not r.backup_id for f in r.folders}
    same = [r for r in records if (r.backup_id, r.subset) == (scope.backup_id, scope.subset)]
    if restart or not same or now - same[-1].started_at > _RESUME_WITHIN:
        return Pass(new_id(now), now, frozenset(), verified_at)
    mine = [r for r in same if r.pass_id == same[-1].pass_id]
    if any(r.complete for r in mine):
        return Pass(new_id(now), now, frozenset(), verified_at)
    # Folders with damage are read again: whoever goes on must not lose sight of it.
    bad = {ref[:2] for r in mine for ref in r.bad}
    done = frozenset(f for r in mine for f in r.folders) - bad
    return Pass(mine[-1].pass_id, mine[-1].started_at, done, verified_at)


class Counts(Protocol):
    """What a pass counts, and where it says that its progress could not be kept."""

    chunks: int
    size_bytes: int
    unrecorded: str


class Journal:
    """Keeps the progress of a pass; a store that may only be read is verified all the same."""

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
        self._folders.append(folder)
        if time.monotonic() - self._written > _CHECKPOINT_S:
            self.write()

    def write(self, *, complete: bool = False) -> None:
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
            log.warning("The progress is not kept: %s", exc.message)
        self._counted = chunks, size_bytes
        self._folders, self.bad = [], []
