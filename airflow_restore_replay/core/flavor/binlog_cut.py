"""Find the place in a primary's binary log that corresponds to a point in time.

The binary log is in commit order, but stamps may step back. The place is therefore a definition: before the first
transaction stamped at or after that time. Stamps are Unix seconds of the primary's clock and do not depend on its time
zone.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from datetime import UTC, datetime
from typing import Protocol, Self, TypeVar

from airflow_restore_replay.core.errors import BinlogPurged, PreflightFailed
from airflow_restore_replay.core.flavor.binlogstream import BinaryLog, G, P, Start, files
from airflow_restore_replay.core.flavor.sql import value
from airflow_restore_replay.core.flavor.values import Conn, Cut, Endpoint, Position

_BATCH = 1000


_G = TypeVar("_G", contravariant=True)


class Growing(Position, Protocol[_G]):
    """A position of any flavor."""

    def has(self, gtid: _G) -> bool: ...

    def extended(self, gtids: Iterable[_G]) -> Self: ...


def clock(primary: Conn) -> datetime:
    """Return the primary's time; ``UTC_TIMESTAMP`` does not depend on any time zone."""
    found: datetime = value(primary, "SELECT UTC_TIMESTAMP(6)")
    return found.replace(tzinfo=UTC)


def cut_before(
    log: BinaryLog[G, P],
    primary: Endpoint,
    boundary: datetime,
    start: Growing[G],
    *,
    read: Callable[[Endpoint, str], Generator[Start[G], None, None]],
) -> Cut:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.cut_before`.

    :param read: yields the transactions of a file.
    """
    with closing(log.connect(primary)) as conn:
        now = clock(conn)
        # Files that are created later are not read, because their transactions are later than any past time.
        first = files_from(log, conn, start)
    with closing(_read_all(first, primary, read)) as transactions:
        return cut_at_time(boundary, start, transactions, now)


def cut_at_time(
    boundary: datetime,
    start: Growing[G],
    transactions: Iterable[Start[G]],
    now: datetime,
    *,
    passed: Growing[G] | None = None,
) -> Cut:
    """Find the first of *transactions* that is stamped at or after *boundary*.

    :param start: position of the base.
    :param transactions: in the order of the binary log.
    :param now: the primary's clock.
    :param passed: the position before the first of them, if it is not *start*.
    :raises PreflightFailed: *start* itself has a transaction stamped at or after *boundary*.
    """
    reached, new = passed or start, list[G]()
    for found in transactions:
        known = start.has(found.gtid)
        if found.committed_s < boundary.timestamp():
            if not known:
                new.append(found.gtid)
            if len(new) >= _BATCH:
                reached, new = reached.extended(new), []
            continue
        stamped = datetime.fromtimestamp(found.committed_s, UTC)
        if known and stamped > now:
            continue  # SET TIMESTAMP: a stamp in the future is not from the clock and proves nothing about the base
        if known:
            raise PreflightFailed(
                f"The base stands at {start}, beyond {boundary:%Y-%m-%dT%H:%M:%SZ}: it has {found.gtid}, which "
                f"the primary stamped {stamped:%Y-%m-%dT%H:%M:%SZ}.",
                hint="Name an older base, or another time.",
            )
        return Cut(reached.extended(new), str(found.gtid), stamped)
    return Cut(reached.extended(new))


def cut_at_gtid(
    gtid: G,
    start: Growing[G],
    transactions: Iterable[Start[G]],
    *,
    including: bool,
    passed: Growing[G] | None = None,
) -> Cut | None:
    """Find *gtid* among *transactions*; None if it is not there.

    :param including: whether the position after it is wanted, or the one before it.
    :raises PreflightFailed: another transaction has that number.
    """
    new = list[G]()
    for found in transactions:
        if found.gtid == gtid:
            reached = (passed or start).extended([*new, gtid] if including else new)
            if including:
                return Cut(reached)
            return Cut(reached, str(gtid), datetime.fromtimestamp(found.committed_s, UTC))
        if found.gtid.place == gtid.place:
            raise PreflightFailed(f"The binary log has {found.gtid} where {gtid} would be.")
        if not start.has(found.gtid):
            new.append(found.gtid)
    return None


def _read_all(
    first: list[str], primary: Endpoint, read: Callable[[Endpoint, str], Generator[Start[G], None, None]]
) -> Generator[Start[G], None, None]:
    for file in first:
        with closing(read(primary, file)) as found:
            yield from found


def files_from(log: BinaryLog[G, P], conn: Conn, start: Position) -> list[str]:
    """Return the binary log files from the newest one before which *start* lacks no transaction.

    Each file begins with a list of what was logged before it. These lists only grow, so a binary search finds it.

    :raises BinlogPurged: transactions before the oldest file are not in *start*.
    """

    def lacking(file: str) -> str:
        return log.lacking(start, log.before(conn, file))

    found = files(conn)
    beyond = bisect.bisect_left(found, True, key=lambda file: bool(lacking(file)))
    if beyond:
        return found[beyond - 1 :]
    if not found:
        raise PreflightFailed("The primary writes no binary log.", hint="Set log_bin and restart it.")
    raise BinlogPurged(
        f"The primary's binary logs begin with {found[0]}, after {lacking(found[0])}; the base stands at "
        f"{str(start) or 'their very beginning'}, and what lies between is purged.",
        hint=f"Keep binary logs ({log.keeping}) as long as you want to go back.",
    )
