"""How far the archive is behind the primary: read from the newest records, so that a check is cheap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_restore_replay.core.repository.format.records import LogPiece
from airflow_restore_replay.core.repository.objects.record_store import read_all
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo

#: records that are read at a time; ids sort by time
_BATCH = 32
#: between the archiver's clock and the store's
_MAX_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class ArchiveLag:
    """State of the newest archived transactions.

    :param current_at: newest time at which the primary had logged nothing that is not archived; None if no readable
        record tells one.
    :param log: name of the file that the archive ends in.
    """

    current_at: datetime | None = None
    log: str = ""

    def seconds(self, now: datetime) -> float | None:
        """Return how much would be lost if the primary were lost now; None if that is unknown."""
        return max(0.0, (now - self.current_at).total_seconds()) if self.current_at else None


def archive_lag(repository: Repository, listed: Iterable[ObjectInfo] | None = None) -> ArchiveLag:
    """Read the newest records of the archive until one of them tells a time.

    A time after the one at which the store got the record cannot be true, and does not count.

    :param listed: the objects of all pieces; by default they are listed.
    """
    if listed is None:
        listed = repository.store.list("logpieces/")
    for batch in _batches(sorted(listed, key=lambda info: info.path, reverse=True)):
        unreadable: dict[str, str] = {}
        found = read_all(repository.store, LogPiece, repository.cluster, repository.sealer, batch, unreadable)
        known = [
            (piece.current_at, piece.log)
            for info, piece, _ in found
            if piece.current_at and piece.current_at - info.modified <= _MAX_SKEW
        ]
        if known:
            return ArchiveLag(*max(known))
    return ArchiveLag()


def _batches(listed: list[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    for begin in range(0, len(listed), _BATCH):
        yield listed[begin : begin + _BATCH]
