"""Which bytes of the archive can answer a question, and the transactions in them."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.search.question import Question
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.binlogstream import HEADER
from airflow_restore_replay.core.flavor.changes.reader import Reader
from airflow_restore_replay.core.flavor.changes.transaction import Transaction
from airflow_restore_replay.core.repository.format.records import LogPiece

_CHECKSUM_BYTES = 4


def range_of(log: ArchivedLog, question: Question, flavor: Flavor) -> tuple[int, int]:
    """Return the offsets between which *log* may have an answer; equal if it has none.

    Pieces say when their transactions were committed, and the positions before and after them.
    """
    wanted = [piece for piece in log.pieces if _may_answer(piece, question, flavor)]
    return (wanted[0].begin, wanted[-1].end) if wanted else (0, 0)


def _may_answer(piece: LogPiece, question: Question, flavor: Flavor) -> bool:
    if question.since is not None and piece.last_at and piece.last_at.timestamp() < int(question.since):
        return False
    if question.until is not None and piece.first_at and piece.first_at.timestamp() >= question.until:
        return False
    if question.gtid and piece.transactions:
        gtid = flavor.parse_position(question.gtid)
        before, after = (flavor.parse_position(text) for text in (piece.before, piece.after))
        return after.contains(gtid) and not before.contains(gtid)
    return True


def transactions(
    archive: Archive, log: ArchivedLog, begin: int, end: int, progress: Callable[[int], None]
) -> Generator[Transaction, None, None]:
    """Yield the transactions that begin between two offsets of *log*, from the beginning of a piece.

    :param progress: called with the number of bytes of each part.
    :raises ArchiveFault: a part is damaged.
    :raises LogDamaged: the bytes are no binary log.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as ahead:
        parts = _ahead(archive.content(log, begin), ahead, progress)
        first = next(parts, b"")
        checksum_bytes = _checksum_bytes(first) if begin else 0
        reader = Reader(begin=begin, checksum_bytes=checksum_bytes)
        for transaction in reader.transactions(itertools.chain([first], parts)):
            if transaction.begin >= end:
                return
            yield transaction


def _ahead(
    parts: Iterator[bytes], pool: ThreadPoolExecutor, progress: Callable[[int], None]
) -> Iterator[bytes]:
    """Yield *parts*, of which the next one is fetched meanwhile."""
    following = pool.submit(next, parts, b"")
    while part := following.result():
        following = pool.submit(next, parts, b"")
        progress(len(part))
        yield part


def _checksum_bytes(data: bytes) -> int:
    """Return how long the checksum of each event is, by that of the first one.

    The file's beginning, which states it, may be far away, or damaged.
    """
    _, _, _, size, _, _ = HEADER.unpack_from(data) if len(data) >= HEADER.size else (0,) * 6
    end = size - _CHECKSUM_BYTES
    if not HEADER.size <= end <= len(data) - _CHECKSUM_BYTES:
        return _CHECKSUM_BYTES  # what servers write by default
    stored = int.from_bytes(data[end:size], "little")
    return _CHECKSUM_BYTES if zlib.crc32(data[:end]) == stored else 0


def moment(seconds: float) -> datetime:
    """Return the time of a stamp."""
    return datetime.fromtimestamp(seconds, UTC)
