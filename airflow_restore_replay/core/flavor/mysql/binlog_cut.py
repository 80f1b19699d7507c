"""Find the place in a primary's binary log that corresponds to a point in time.

The binary log is in commit order, and each transaction has the time at which this primary committed it. The clock may
step back, so the place is a definition: before the first transaction stamped at or after that time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from datetime import UTC, datetime

from airflow_restore_replay.core.errors import BinlogPurged, PreflightFailed
from airflow_restore_replay.core.flavor.mysql import binlog
from airflow_restore_replay.core.flavor.mysql.connect import connect
from airflow_restore_replay.core.flavor.mysql.gtid import Gtid, MySqlPosition
from airflow_restore_replay.core.flavor.mysql.snapshot import clock
from airflow_restore_replay.core.flavor.values import Conn, Cut, Endpoint

_BATCH = 1000


def cut_before(primary: Endpoint, boundary: datetime, start: MySqlPosition) -> Cut:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.cut_before`."""
    reached = _Reached(start)
    with (
        contextlib.closing(connect(primary)) as conn,
        contextlib.closing(_from(primary, conn, start)) as transactions,
    ):
        now = clock(conn)
        for found in transactions:
            known = start.has(found.gtid)
            if found.committed_s < boundary.timestamp():
                if not known:
                    reached.add(found.gtid)
                continue
            stamped = datetime.fromtimestamp(found.committed_s, UTC)
            if known and stamped > now:
                continue  # a stamp in the future was not taken from the clock, so it proves nothing about the base
            if known:
                raise PreflightFailed(
                    f"The base stands at {start}, beyond {boundary:%Y-%m-%dT%H:%M:%SZ}: it has {found.gtid}, which "
                    f"the primary stamped {stamped:%Y-%m-%dT%H:%M:%SZ}.",
                    hint="Name an older base, or another time.",
                )
            return Cut(reached.position(), str(found.gtid), stamped)
    return Cut(reached.position())


class _Reached:
    """A position that grows by single transactions."""

    def __init__(self, start: MySqlPosition) -> None:
        self._base = start
        self._new: list[Gtid] = []

    def add(self, gtid: Gtid) -> None:
        self._new.append(gtid)
        if len(self._new) >= _BATCH:
            self.position()

    def position(self) -> MySqlPosition:
        self._base = self._base.union(MySqlPosition.of(self._new))
        self._new = []
        return self._base


def _from(primary: Endpoint, conn: Conn, start: MySqlPosition) -> Generator[binlog.Start, None, None]:
    """Yield all transactions from the beginning of the file in which *start* ends.

    Files that are created after the call are not read, because their transactions are later than any past time.
    """
    for file in _files_from(conn, start):
        yield from binlog.transactions(primary, file)


def _files_from(conn: Conn, start: MySqlPosition) -> list[str]:
    """Return the binary log files from the newest one before which *start* lacks no transaction.

    Each file begins with the set of transactions logged before it. These sets only grow, so a binary search finds it.

    :raises BinlogPurged: transactions before the oldest file are not in *start*.
    """
    files = binlog.files(conn)
    low, high = 0, len(files)
    while low < high:
        middle = (low + high) // 2
        if start.contains(binlog.before(conn, files[middle])):
            low = middle + 1
        else:
            high = middle
    if low:
        return files[low - 1 :]
    if not files:
        raise PreflightFailed("The primary writes no binary log.", hint="Set log_bin and restart it.")
    lacking = start.lacking(binlog.before(conn, files[0]))
    raise BinlogPurged(
        f"The primary's binary logs begin with {files[0]}, after {lacking}; the base stands at "
        f"{str(start) or 'their very beginning'}, and what lies between is purged.",
        hint="Keep binary logs (binlog_expire_logs_seconds) as long as you want to go back.",
    )
