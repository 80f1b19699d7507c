"""MySQL GTID sets: intervals of transaction numbers per source UUID and tag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from airflow_restore_replay.core.errors import AnswerUnreadable
from airflow_restore_replay.core.flavor.values import Position

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
# 64 bits; int() refuses numbers of thousands of digits.
_INTERVAL = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?")

#: the highest number that a server assigns. Source: MySQL manual, "GTID Format and Storage".
_LAST_NUMBER = 2**63 - 2

#: first and last number, both included; sorted, neither overlapping nor adjacent
Intervals = tuple[tuple[int, int], ...]


@dataclass(frozen=True, order=True)
class Source:
    """The source of transaction numbers: a server UUID, and since 8.3 a tag; each source counts separately."""

    uuid: str
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.uuid}:{self.tag}" if self.tag else self.uuid


@dataclass(frozen=True, order=True)
class Gtid:
    """One transaction, ``uuid:number`` or ``uuid:tag:number``."""

    source: Source
    number: int

    def __str__(self) -> str:
        return f"{self.source}:{self.number}"

    @property
    def place(self) -> tuple[Source, int]:
        return self.source, self.number


def parse_gtid(text: str) -> Gtid:
    """Parse one GTID.

    :raises AnswerUnreadable: *text* is not exactly one transaction.
    """
    position = MySqlPosition.parse(text)
    if position.count != 1:
        raise AnswerUnreadable(f"{text!r} is not one GTID.")
    ((source, intervals),) = position.by_source.items()
    return Gtid(source, intervals[0][0])


@dataclass(frozen=True)
class MySqlPosition:
    """A GTID set.

    Source: MySQL manual, "GTID Format and Storage".
    """

    by_source: Mapping[Source, Intervals] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.by_source.items())))

    @classmethod
    def parse(cls, text: str) -> MySqlPosition:
        """Parse a GTID set.

        :param text: as in ``@@gtid_executed``, with spaces and line ends anywhere; empty for an empty set.
        :raises AnswerUnreadable: *text* is not a GTID set.
        """
        found: dict[Source, list[tuple[int, int]]] = {}
        for part in re.sub(r"\s+", "", text).lower().split(","):
            if part:
                _parse_source(part, found)
        return cls({s: merged for s, runs in found.items() if (merged := _merge(runs))})

    @classmethod
    def of(cls, gtids: Iterable[Gtid]) -> MySqlPosition:
        """Return the set of exactly these transactions."""
        runs: dict[Source, list[tuple[int, int]]] = {}
        for gtid in gtids:
            runs.setdefault(gtid.source, []).append((gtid.number, gtid.number))
        return cls({source: _merge(found) for source, found in runs.items()})

    def __str__(self) -> str:
        """Return the set as the server prints it, on one line: a server's tags follow its untagged numbers."""
        by_uuid: dict[str, list[str]] = {}
        for source, intervals in sorted(self.by_source.items()):
            parts = by_uuid.setdefault(source.uuid, [])
            parts += [source.tag] if source.tag else []
            parts += [f"{a}-{b}" if b > a else f"{a}" for a, b in intervals]
        return ",".join(":".join([uuid, *parts]) for uuid, parts in by_uuid.items())

    def __bool__(self) -> bool:
        return bool(self.by_source)

    @property
    def count(self) -> int:
        """Return the number of transactions."""
        return sum(b - a + 1 for intervals in self.by_source.values() for a, b in intervals)

    def last(self) -> Iterator[Gtid]:
        """Yield, for each source, the transaction with the highest number."""
        for source, intervals in sorted(self.by_source.items()):
            yield Gtid(source, intervals[-1][1])

    def has(self, gtid: Gtid) -> bool:
        return any(a <= gtid.number <= b for a, b in self.by_source.get(gtid.source, ()))

    def extended(self, gtids: Iterable[Gtid]) -> MySqlPosition:
        """Return the union of this set and *gtids*."""
        return self.union(MySqlPosition.of(gtids))

    def contains(self, other: Position) -> bool:
        return not self.missing(_own(other))

    def lacking(self, goal: Position) -> str:
        missing = self.missing(_own(goal))
        return f"{missing.count} transactions: {str(missing)[:300]}" if missing else ""

    def count_lacking(self, goal: Position) -> int:
        return self.missing(_own(goal)).count

    def missing(self, other: MySqlPosition) -> MySqlPosition:
        """Return the transactions of *other* that are not in this set: ``GTID_SUBTRACT(other, self)``."""
        rest = {s: _subtract(runs, self.by_source.get(s, ())) for s, runs in other.by_source.items()}
        return MySqlPosition({source: runs for source, runs in rest.items() if runs})

    def union(self, other: Position) -> MySqlPosition:
        other = _own(other)
        sources = self.by_source.keys() | other.by_source.keys()
        return MySqlPosition(
            {s: _merge([*self.by_source.get(s, ()), *other.by_source.get(s, ())]) for s in sources}
        )

    def beyond(self, others: Iterable[Source] = ()) -> MySqlPosition:
        """Return all possible transactions of this set's sources, and of *others*, that are not in this set."""
        sources = [*self.by_source, *others]
        return self.missing(MySqlPosition(dict.fromkeys(sources, ((1, _LAST_NUMBER),))))

    def common(self, other: Position) -> MySqlPosition:
        """Return the transactions that are in both sets."""
        return _own(other).missing(self).missing(self)


def _parse_source(part: str, found: dict[Source, list[tuple[int, int]]]) -> None:
    uuid, *rest = part.split(":")
    if not _UUID.fullmatch(uuid) or not rest:
        raise AnswerUnreadable(
            f"{part!r} is not a GTID set such as 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5."
        )
    source = Source(uuid)
    for word in rest:
        match = _INTERVAL.fullmatch(word)
        if match:
            first, last = int(match[1]), int(match[2] or match[1])
            if first < 1:
                raise AnswerUnreadable(f"{part!r} has a transaction number below 1.")
            found.setdefault(source, []).append((first, last))
        elif _TAG.fullmatch(word):
            source = Source(uuid, word)
        else:
            raise AnswerUnreadable(f"{word!r} in {part!r} is neither an interval nor a tag.")


def _merge(runs: Iterable[tuple[int, int]]) -> Intervals:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if last < first:
            continue
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _subtract(runs: Intervals, away: Intervals) -> Intervals:
    rest = []
    for first, last in runs:
        for a, b in away:
            if b < first or a > last:
                continue
            if a > first:
                rest.append((first, a - 1))
            first = b + 1
        if first <= last:
            rest.append((first, last))
    return tuple(rest)


def _own(position: Position) -> MySqlPosition:
    return position if isinstance(position, MySqlPosition) else MySqlPosition.parse(str(position))
