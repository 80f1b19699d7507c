"""How far the archive leads from a position: which files continue it, and until when.

A server that has executed a position can replay a file if it has executed all that the file's heading lists. So it
can continue with any stream that has such a file, whichever server wrote the stream.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from airflow_restore_replay.core.archive.logs import ArchivedLog, Stream
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.values import Position
from airflow_restore_replay.core.repository.format.records import LogPiece


@dataclass(frozen=True)
class Leg:
    """Files of one stream that follow each other, to be replayed from a position that has all before the first.

    :param after: the position after them.
    """

    logs: tuple[ArchivedLog, ...]
    after: Position

    @property
    def stream(self) -> str:
        return self.logs[0].stream


@dataclass(frozen=True)
class Reach:
    """How far the archive leads from a position.

    :param legs: in their order; none if the archive has nothing that the position lacks.
    :param position: the position after the last of them.
    :param until: time until which all that was logged is in that position: by the archiver's clock, or by the
        primary's where only the stamp of the last transaction is known; None if no file continues the position.
    """

    legs: tuple[Leg, ...]
    position: Position
    until: datetime | None

    @property
    def transactions(self) -> int:
        """Return how many transactions the files have; the position may have some of them already."""
        return sum(log.transactions for leg in self.legs for log in leg.logs)


class Routes:
    """Finds the files that continue a position.

    :param streams: of the archive.
    :param pieces: all pieces, also those that only say that nothing was new.
    :ivar runs: unbroken sequences of files, by stream and number.
    """

    def __init__(self, streams: Iterable[Stream], pieces: Iterable[LogPiece], flavor: Flavor) -> None:
        self._flavor = flavor
        self._parsed: dict[str, Position] = {}
        self.runs = [Run(logs, pieces) for s in streams for logs in self._unbroken(s)]

    def from_position(self, position: Position) -> Reach:
        """Return how far the archive leads from *position*."""
        legs: list[Leg] = []
        moved = True
        while moved:
            moved = False
            for run in self.runs:
                first = run.entry(position, self.parse)
                if first < 0 or position.contains(after := self.parse(run.logs[-1].after)):
                    continue
                position = position.union(after)
                legs.append(Leg(run.logs[first:], position))
                moved = True
        reached = (run.until for run in self.runs if self._has(position, run.logs[0].before))
        return Reach(tuple(legs), position, max((at for at in reached if at), default=None))

    def parse(self, text: str) -> Position:
        """Parse a position; each text is parsed once."""
        if text not in self._parsed:
            self._parsed[text] = self._flavor.parse_position(text)
        return self._parsed[text]

    def _has(self, position: Position, text: str) -> bool:
        return position.contains(self.parse(text))

    def _unbroken(self, stream: Stream) -> list[tuple[ArchivedLog, ...]]:
        """Divide a stream where bytes or files are missing, or where a file's heading lists more than was archived."""
        runs: list[list[ArchivedLog]] = []
        last: ArchivedLog | None = None
        for log in stream.logs:
            follows = (
                last is not None
                and last.whole
                and log.number == last.number + 1
                and self._has(self.parse(last.after), log.before)
            )
            if follows:
                runs[-1].append(log)
            else:
                runs.append([log])
            last = log
        return [tuple(run) for run in runs]


@dataclass(frozen=True)
class Run:
    """Files without anything missing between them."""

    logs: tuple[ArchivedLog, ...]
    pieces: Iterable[LogPiece]

    def entry(self, position: Position, parse: Callable[[str], Position]) -> int:
        """Return the index of the last file before which *position* lacks nothing; -1 if there is none.

        In a run, each file's heading lists what that of the one before does, and more.
        """
        return (
            bisect.bisect_left(self.logs, True, key=lambda log: not position.contains(parse(log.before))) - 1
        )

    @cached_property
    def until(self) -> datetime | None:
        ends = {log.number: log.size_bytes for log in self.logs}
        mine = [p for p in self.pieces if p.stream == self.logs[0].stream and p.end <= ends.get(p.number, -1)]
        return max((at for p in mine if (at := known_until(p))), default=None)


def known_until(piece: LogPiece) -> datetime | None:
    """Return the time until which all that was logged is in *piece* or before it; None if nothing is known."""
    return piece.current_at or piece.last_at


def newest(pieces: Sequence[LogPiece]) -> datetime | None:
    """Return the newest time at which the primary had logged nothing that is not archived."""
    return max((p.current_at for p in pieces if p.current_at), default=None)
