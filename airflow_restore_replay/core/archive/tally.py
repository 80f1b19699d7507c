"""Count the transactions of a binary log file by the pieces that they begin in, and follow the position."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_restore_replay.core.flavor.binlog_cut import Growing
from airflow_restore_replay.core.flavor.binlogstream import Start

_BATCH = 1000


@dataclass(frozen=True)
class Cut:
    """A part of a file that becomes a piece.

    :param begin, end: offsets in the copy.
    :param before, after: positions before and after the transactions that end in it.
    :param transactions: that begin in it.
    :param first_at, last_at: earliest and latest stamp of them.
    """

    begin: int
    end: int
    before: str
    after: str
    transactions: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None


class Tally:
    """What is known of a file as far as it has been read.

    :param position: before the first transaction; None until the file's heading has been read.
    :param begin: where the present piece begins.
    :ivar boundary: the last place where a transaction has ended, or the beginning of the present piece.
    """

    def __init__(self, position: Growing[Any] | None, begin: int) -> None:
        self._position = position
        self._before = str(position) if position is not None else ""
        self.begin = self.boundary = begin
        self._open: Start[Any] | None = None
        #: the open transaction began in an earlier piece
        self._counted = False
        self._new: list[Any] = []
        self._count = 0
        self._first_s = self._last_s = 0.0

    @property
    def known(self) -> bool:
        """Return whether the position is known."""
        return self._position is not None

    @property
    def position(self) -> Growing[Any]:
        """Return the position after the last transaction that has ended."""
        assert self._position is not None
        if self._new:
            self._position, self._new = self._position.extended(self._new), []
        return self._position

    @property
    def with_open(self) -> Growing[Any]:
        """Return the position if the transaction that is open has ended."""
        return self.position.extended([self._open.gtid]) if self._open else self.position

    def head(self, listed: Growing[Any]) -> None:
        """Begin at what the file's heading lists."""
        self._position, self._before = listed, str(listed)

    def group(self, offset: int, start: Start[Any] | None) -> None:
        """End the open transaction at *offset*, where another group of events begins."""
        self.end(offset)
        self._open = start

    def end(self, offset: int) -> None:
        """End the open transaction, if there is one, at *offset*."""
        if self._open is not None:
            self._count_open()
            self._new.append(self._open.gtid)
            if len(self._new) >= _BATCH:
                _ = self.position
            self._open, self._counted = None, False
        if self._position is not None:
            self.boundary = max(self.boundary, offset)

    def settle(self, offset: int) -> None:
        """Note that all events before *offset* were read."""
        if self._open is None and self._position is not None:
            self.boundary = max(self.boundary, offset)

    def continue_at(self, offset: int, after: str) -> bool:
        """Forget what was counted: pieces up to *offset* exist, and say that the position is *after* there.

        :returns: whether that is so.
        """
        if self._open is not None and str(self.with_open) == after:
            self.end(offset)
        fits = self.known and str(self.position) == after
        self.begin = self.boundary = offset
        self._begin_piece(counted=self._open is not None)
        return fits

    def cut(self, end: int) -> Cut:
        """End the present piece at *end*: at the boundary, or within a transaction that is too large for one piece."""
        if end > self.boundary and self._open is not None:
            self._count_open()
        counted = self._counted
        cut = Cut(
            self.begin,
            end,
            self._before,
            str(self.position),
            self._count,
            _time(self._first_s),
            _time(self._last_s),
        )
        self.begin, self.boundary = end, max(end, self.boundary)
        self._begin_piece(counted=counted)
        return cut

    def _begin_piece(self, *, counted: bool) -> None:
        self._before = str(self.position) if self.known else ""
        self._counted = counted
        self._count, self._first_s, self._last_s = 0, 0.0, 0.0

    def _count_open(self) -> None:
        assert self._open is not None
        if not self._counted:
            stamp = self._open.committed_s
            self._first_s = min(self._first_s, stamp) if self._count else stamp
            self._last_s = max(self._last_s, stamp)
            self._count += 1
            self._counted = True


def _time(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
