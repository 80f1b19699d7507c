"""MariaDB GTID sets: one (server id, sequence number) per replication domain."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_restore_replay.core.errors import AnswerUnreadable
from airflow_restore_replay.core.flavor.values import Position

# 32 bits, 32 bits and 64 bits; int() refuses numbers of thousands of digits.
_GTID = re.compile(r"([0-9]{1,10})-([0-9]{1,10})-([0-9]{1,20})")


@dataclass(frozen=True, order=True)
class Gtid:
    """One transaction, ``domain-server-sequence``."""

    domain: int
    server_id: int
    seq: int

    def __str__(self) -> str:
        return f"{self.domain}-{self.server_id}-{self.seq}"

    @property
    def place(self) -> tuple[int, int]:
        return self.domain, self.seq


def parse_gtid(text: str) -> Gtid:
    """Parse one GTID.

    :raises AnswerUnreadable: *text* is not ``domain-server-sequence``.
    """
    match = _GTID.fullmatch(text.strip())
    if not match:
        raise AnswerUnreadable(f"{text!r} is not a MariaDB GTID such as 0-1-100.")
    return Gtid(int(match[1]), int(match[2]), int(match[3]))


@dataclass(frozen=True)
class MariaDbPosition:
    """The last transaction of each domain, ordered by domain.

    Within a domain sequence numbers only grow, so containment is a comparison per domain. The history check decides
    whether a number means the same transaction on two servers.

    Source: MariaDB documentation, "Global Transaction ID".
    """

    last: tuple[Gtid, ...] = ()

    @classmethod
    def parse(cls, text: str) -> MariaDbPosition:
        """Parse a position.

        :param text: as in ``@@gtid_slave_pos``; empty for an empty position.
        :raises AnswerUnreadable: *text* is not a list of GTIDs, or has two of one domain.
        """
        gtids = sorted(parse_gtid(part) for part in text.replace("\n", "").split(",") if part.strip())
        if len({gtid.domain for gtid in gtids}) != len(gtids):
            raise AnswerUnreadable(f"{text!r} names a domain twice.")
        return cls(tuple(gtids))

    def __iter__(self) -> Iterator[Gtid]:
        return iter(self.last)

    def __str__(self) -> str:
        return ",".join(str(gtid) for gtid in self.last)

    def domain(self, domain: int) -> Gtid | None:
        """Return the last transaction of *domain*, or None if it has none."""
        return next((gtid for gtid in self.last if gtid.domain == domain), None)

    def seq(self, domain: int) -> int:
        """Return the last sequence number of *domain*, or 0 if it has none."""
        found = self.domain(domain)
        return found.seq if found else 0

    def has(self, gtid: Gtid) -> bool:
        return self.seq(gtid.domain) >= gtid.seq

    def extended(self, gtids: Iterable[Gtid]) -> MariaDbPosition:
        """Return the position after *gtids*, which follow it in their order."""
        last = {gtid.domain: gtid for gtid in itertools.chain(self.last, gtids)}
        return MariaDbPosition(tuple(sorted(last.values())))

    def union(self, other: Position) -> MariaDbPosition:
        return self.extended(gtid for gtid in _own(other) if not self.has(gtid))

    def contains(self, other: Position) -> bool:
        return all(self.has(gtid) for gtid in _own(other))

    def common(self, other: Position) -> MariaDbPosition:
        theirs = _own(other)
        lower = (gtid if theirs.has(gtid) else theirs.domain(gtid.domain) for gtid in self.last)
        return MariaDbPosition(tuple(gtid for gtid in lower if gtid is not None))

    def lacking(self, goal: Position) -> str:
        short = [gtid for gtid in _own(goal) if not self.has(gtid)]
        return ", ".join(
            f"domain {gtid.domain}: {gtid.seq - self.seq(gtid.domain)} transactions up to {gtid}"
            for gtid in short
        )

    def count_lacking(self, goal: Position) -> int:
        return sum(gtid.seq - self.seq(gtid.domain) for gtid in _own(goal) if not self.has(gtid))


def _own(position: Position) -> MariaDbPosition:
    return position if isinstance(position, MariaDbPosition) else MariaDbPosition.parse(str(position))
