"""Write the archive: pieces after their bytes, gaps, merged pieces, all under the archiver's lease."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.merging import merge_due, merged
from airflow_restore_replay.core.archive.pieces import MAX_PART_BYTES, PieceStore
from airflow_restore_replay.core.archive.places import piece_id
from airflow_restore_replay.core.archive.tally import Cut
from airflow_restore_replay.core.errors import ArchiveFault, KeyMissing
from airflow_restore_replay.core.flavor.values import ServerIdentity
from airflow_restore_replay.core.repository.format.records import (
    LogGap,
    LogPart,
    LogPiece,
    new_id,
    utc_now,
)

LOG = logging.getLogger(__name__)

#: the archiver's lease; it renews it three times in that time
LEASE_TTL_S = 90.0
# A new epoch lets the objects of the old one be deleted.
_MOST_RENEWALS = 500


@dataclass(frozen=True)
class File:
    """A file of the primary, by its place in the archive.

    :param digest: of its beginning.
    """

    stream: str
    number: int
    name: str
    digest: str


class LogWriter:
    """Writes the archive for one owner of its lease.

    :param run: that owner.
    :ivar log: the file that is being archived, as far as it is; None if the archive is empty.
    """

    def __init__(self, store: PieceStore, run: str, flavor: str, log: ArchivedLog | None = None) -> None:
        self.store = store
        self.run = run
        self.log = log
        self._flavor = flavor
        self._lease = store.repository.log_lease
        self._epoch = 0
        self._renewals = 0
        self._renewed = 0.0

    def acquire(self) -> int:
        """Acquire the lease, and return its epoch.

        :raises LeaseHeld: another archiver has it.
        """
        self._epoch = self._lease.acquire(self.run, LEASE_TTL_S)
        self._renewals, self._renewed = 0, time.monotonic()
        return self._epoch

    def keep_lease(self) -> None:
        """Renew the lease if it is time to.

        :raises LeaseLost: another archiver has it.
        """
        if time.monotonic() - self._renewed < LEASE_TTL_S / 3:
            return
        self._lease.renew(self.run, self._epoch)
        self._renewals, self._renewed = self._renewals + 1, time.monotonic()
        if self._renewals >= _MOST_RENEWALS:
            self.release()
            self.acquire()

    def release(self) -> None:
        self._lease.release(self.run, self._epoch)

    def write(
        self,
        file: File,
        cut: Cut,
        content: Callable[[int, int], bytes],
        server: ServerIdentity,
        *,
        closed: bool = False,
        current_at: datetime | None = None,
    ) -> LogPiece:
        """Store a piece: its bytes, then its record.

        :param content: returns bytes of the file by their offsets.
        """
        parts = self._put(content, cut.begin, cut.end)
        self.keep_lease()
        at = utc_now()
        piece = LogPiece(
            piece_id=piece_id(at, file.stream, file.number, cut.begin, cut.end),
            at=at,
            cluster=self.store.repository.cluster,
            run=self.run,
            lease_epoch=self._epoch,
            flavor=self._flavor,
            server_release=server.release,
            server_uid=server.uid,
            stream=file.stream,
            number=file.number,
            log=file.name,
            digest=file.digest,
            begin=cut.begin,
            end=cut.end,
            parts=parts,
            key_id=self.store.key_id,
            before=cut.before,
            after=cut.after,
            transactions=cut.transactions,
            first_at=cut.first_at,
            last_at=cut.last_at,
            closed=closed,
            current_at=current_at,
        )
        self.store.write(piece)
        self._add(piece)
        return piece

    def end_file(self) -> None:
        """Record that the present file has ended, if its last piece does not say it, and merge its pieces."""
        if self.log is None:
            return
        if not self.log.whole:
            self._write_merged(self.log, closed=True)
        else:
            self.merge(self.log)

    def merge(self, log: ArchivedLog) -> None:
        """Merge the pieces of *log* if that is due; if it cannot be done, everything stays as it is."""
        if merge_due(log):
            try:
                self._write_merged(log, closed=False)
            except (ArchiveFault, KeyMissing) as exc:
                LOG.warning("The pieces of %s stay unmerged: %s", log.name, exc)

    def gap(self, file: File, before: str, after: str, *, lacking: str, reason: str) -> LogGap:
        """Record that the archive lacks transactions before *file*."""
        at = utc_now()
        gap = LogGap(
            gap_id=new_id(at),
            at=at,
            cluster=self.store.repository.cluster,
            run=self.run,
            lease_epoch=self._epoch,
            stream=file.stream,
            number=file.number,
            before=before,
            after=after,
            lacking=lacking,
            reason=reason,
        )
        self.store.write(gap)
        return gap

    def _put(self, content: Callable[[int, int], bytes], begin: int, end: int) -> list[LogPart]:
        offsets = range(begin, end, MAX_PART_BYTES)
        return [self.store.put(content(at, min(end, at + MAX_PART_BYTES))) for at in offsets]

    def _add(self, piece: LogPiece) -> None:
        same = self.log is not None and (self.log.stream, self.log.number) == (piece.stream, piece.number)
        if not same or self.log is None:
            self.log = ArchivedLog((piece,)) if piece.end else None
        elif piece.end > self.log.size_bytes:
            self.log = replace(self.log, pieces=(*self.log.pieces, piece), lost_at=None)
            if not piece.closed:
                self.merge(self.log)

    def _write_merged(self, log: ArchivedLog, *, closed: bool) -> None:
        piece = merged(self.store, log, run=self.run, lease_epoch=self._epoch, closed=closed)
        self.keep_lease()
        self.store.write(piece)
        if self.log is log:
            self.log = ArchivedLog((piece,))
