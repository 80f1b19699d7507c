"""Merging: one piece takes the place of the many short ones of a file, so that it is read by few requests."""

from __future__ import annotations

from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.pieces import PieceStore
from airflow_restore_replay.core.archive.places import piece_id
from airflow_restore_replay.core.repository.format.records import LogPart, LogPiece, utc_now

#: pieces of a file that still grows, above which they are merged
MAX_LOOSE = 360
#: size of merged parts; encoding and proving one takes a multiple of it
_MERGED_BYTES = 8 * 2**20
#: a part of this size is referred to as it is; smaller ones are stored again, together
_LARGE_BYTES = _MERGED_BYTES // 2


def merge_due(log: ArchivedLog) -> bool:
    """Return whether the pieces of *log* should be merged."""
    return len(log.pieces) > (1 if log.whole else MAX_LOOSE)


def merged(
    store: PieceStore, log: ArchivedLog, *, run: str, lease_epoch: int, closed: bool = False
) -> LogPiece:
    """Return one piece with all that is archived of a file; store its bytes, but not its record.

    Nothing is rewritten or deleted: the pieces stay until pruning finds them superseded. Memory is bounded by a few
    parts.

    :param closed: the file has ended, which its last piece may not say yet.
    :raises LogMissing, LogCorrupt, KeyMissing: bytes cannot be read; nothing was changed.
    """
    first, last = log.pieces[0], log.pieces[-1]
    at = utc_now()
    return LogPiece(
        piece_id=piece_id(at, last.stream, last.number, first.begin, last.end),
        at=at,
        cluster=last.cluster,
        run=run,
        lease_epoch=lease_epoch,
        flavor=last.flavor,
        server_release=last.server_release,
        server_uid=last.server_uid,
        stream=last.stream,
        number=last.number,
        log=last.log,
        digest=first.digest,
        begin=first.begin,
        end=last.end,
        parts=_Parts(store).of(log),
        key_id=store.key_id,
        before=first.before,
        after=last.after,
        transactions=log.transactions,
        first_at=log.first_at,
        last_at=log.last_at,
        closed=log.lost_at is None and (closed or last.closed),
        current_at=max((p.current_at for p in log.pieces if p.current_at), default=None),
    )


class _Parts:
    """Parts of a merged piece."""

    def __init__(self, store: PieceStore) -> None:
        self._store = store
        self._parts: list[LogPart] = []
        self._waiting = bytearray()
        #: what is waiting, if that is one part under the present key, which need not be stored again
        self._alone: LogPart | None = None

    def of(self, log: ArchivedLog) -> list[LogPart]:
        for piece in log.pieces:
            at = piece.begin
            for part in piece.parts:
                self._add(piece, part, at)
                at += part.size_bytes
        self._flush()
        return self._parts

    def _add(self, piece: LogPiece, part: LogPart, at: int) -> None:
        # The parts of a piece are all under its key.
        reusable = piece.key_id == self._store.key_id
        large = part.size_bytes >= _LARGE_BYTES and reusable
        if large or len(self._waiting) + part.size_bytes > _MERGED_BYTES:
            self._flush()
        if large:
            self._parts.append(part)
            return
        self._alone = part if reusable and not self._waiting else None
        self._waiting += self._store.part(piece, part, at)

    def _flush(self) -> None:
        if self._alone:
            self._parts.append(self._alone)
        elif self._waiting:
            self._parts.append(self._store.put(self._waiting))
        self._alone, self._waiting = None, bytearray()
