"""Archived binary log files, put together from their pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from airflow_restore_replay.core.repository.format.records import LogPiece


@dataclass(frozen=True)
class ArchivedLog:
    """A binary log file, as far as it is archived.

    :param pieces: from the file's beginning on, each where the one before ends.
    :param lost_at: offset at which a piece is missing though later ones exist; None if none is.
    """

    pieces: tuple[LogPiece, ...]
    lost_at: int | None = None

    @property
    def stream(self) -> str:
        return self.pieces[0].stream

    @property
    def number(self) -> int:
        """Return the place of the file in its stream, from 1."""
        return self.pieces[0].number

    @property
    def name(self) -> str:
        """Return the file's name on the primary."""
        return self.pieces[0].log

    @property
    def size_bytes(self) -> int:
        return self.pieces[-1].end

    @property
    def before(self) -> str:
        """Return the position of all that was logged before the file."""
        return self.pieces[0].before

    @property
    def after(self) -> str:
        """Return the position after the last archived transaction of the file."""
        return self.pieces[-1].after

    @property
    def whole(self) -> bool:
        """Return whether all of the file is archived, and the stream continues with the next file."""
        return self.pieces[-1].closed and self.lost_at is None

    @property
    def transactions(self) -> int:
        return sum(piece.transactions for piece in self.pieces)

    @property
    def first_at(self) -> datetime | None:
        """Return the earliest stamp of a transaction, by the primary's clock; None if the file has none."""
        return min((p.first_at for p in self.pieces if p.first_at), default=None)

    @property
    def last_at(self) -> datetime | None:
        """Return the latest stamp of a transaction, by the primary's clock; None if the file has none."""
        return max((p.last_at for p in self.pieces if p.last_at), default=None)


@dataclass(frozen=True)
class Stream:
    """Files of one server that continue each other; the archive has one after the other of them."""

    logs: tuple[ArchivedLog, ...]

    @property
    def id(self) -> str:
        return self.logs[0].stream

    @property
    def flavor(self) -> str:
        return self.logs[0].pieces[0].flavor


def streams_of(pieces: Iterable[LogPiece]) -> tuple[Stream, ...]:
    """Put files and streams together, oldest stream first; ids of streams sort by their time."""
    ordered = sorted(pieces, key=lambda p: (p.stream, p.number, p.begin, -p.end, p.piece_id))
    streams = []
    for _, of_stream in itertools.groupby(ordered, key=lambda p: p.stream):
        logs = tuple(_log(list(found)) for _, found in itertools.groupby(of_stream, key=lambda p: p.number))
        streams.append(Stream(tuple(log for log in logs if log.pieces)))
    return tuple(stream for stream in streams if stream.logs)


def _log(pieces: list[LogPiece]) -> ArchivedLog:
    """Choose the pieces that cover the file with as few as possible."""
    chosen: list[LogPiece] = []
    reached = 0
    while True:
        usable = [p for p in pieces if p.begin == reached and p.end > reached]
        if not usable:
            break
        chosen.append(max(usable, key=lambda p: (p.end, p.closed, p.piece_id)))
        reached = chosen[-1].end
    later = any(p.end > reached for p in pieces)
    return ArchivedLog(tuple(chosen), reached if later else None)
