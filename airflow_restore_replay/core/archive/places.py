"""Ids of pieces that tell the piece's place, so that a reader can leave out records whose place a longer one has taken.

An id only says which records to read first. What counts is the record, and if one cannot be read, all of its file are.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from airflow_restore_replay.core.repository.format.records import LogPiece, new_id
from airflow_restore_replay.core.repository.store.base import ObjectInfo

_ID = r"\d{8}T\d{6}Z-[0-9a-f]{8}"
_PLACED = re.compile(rf"logpieces/({_ID})\.({_ID})\.(\d{{1,18}})\.(\d{{1,18}})-(\d{{1,18}})\.json")

#: stream and number
FileKey = tuple[str, int]


def piece_id(at: datetime, stream: str, number: int, begin: int, end: int) -> str:
    """Return a new id of a piece, which sorts by time and tells the place."""
    return f"{new_id(at)}.{stream}.{number}.{begin}-{end}"


@dataclass(frozen=True)
class Named:
    """A record by its name alone."""

    info: ObjectInfo
    stream: str
    number: int
    begin: int
    end: int

    @property
    def file(self) -> FileKey:
        return self.stream, self.number

    def is_of(self, piece: LogPiece) -> bool:
        """Return whether *piece* has the place that its name tells."""
        found = (piece.stream, piece.number, piece.begin, piece.end)
        return found == (self.stream, self.number, self.begin, self.end)


@dataclass
class Selection:
    """Records to read.

    :param first: those that have the place of others, and those whose names tell no place.
    :param rest: the others, by file.
    """

    first: list[ObjectInfo] = field(default_factory=list)
    rest: dict[FileKey, list[ObjectInfo]] = field(default_factory=dict)


def named(info: ObjectInfo) -> Named | None:
    """Return what the name of a record tells; None if it tells no place."""
    match = _PLACED.fullmatch(info.path)
    return Named(info, match[2], int(match[3]), int(match[4]), int(match[5])) if match else None


def select(listed: Iterable[ObjectInfo]) -> Selection:
    """Choose the records without which a file is not known."""
    selection = Selection()
    placed: list[Named] = []
    for info in listed:
        if found := named(info):
            placed.append(found)
        else:
            selection.first.append(info)
    placed.sort(key=lambda n: (n.file, n.info.path))
    newest_idle = {n.stream: n for n in sorted(placed, key=lambda n: n.info.path) if n.begin == n.end}
    for file, group in itertools.groupby(placed, key=lambda n: n.file):
        of_file = list(group)
        needed = {n.info.path for n in _covering([n for n in of_file if n.begin < n.end])}
        needed |= {n.info.path for n in of_file if newest_idle.get(n.stream) is n}
        selection.first += [n.info for n in of_file if n.info.path in needed]
        if rest := [n.info for n in of_file if n.info.path not in needed]:
            selection.rest[file] = rest
    return selection


def _covering(pieces: Sequence[Named]) -> list[Named]:
    """Return the pieces that cover the file with as few as possible; all of them if bytes are missing."""
    chosen: list[Named] = []
    reached = 0
    while usable := [n for n in pieces if n.begin == reached and n.end > reached]:
        end = max(n.end for n in usable)
        # Of pieces with the same place, only the records tell which one closes the file.
        chosen += [n for n in usable if n.end == end]
        reached = end
    return list(pieces) if any(n.end > reached for n in pieces) else chosen
