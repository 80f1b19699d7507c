"""Find the place in a primary's binary log that corresponds to a point in time.

The binary log is in commit order, but events are stamped with the start of their statements, so stamps may step back.
The place is therefore a definition: before the first transaction stamped at or after that time. Stamps are Unix
seconds of the primary's clock and do not depend on its time zone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from datetime import UTC, datetime

from airflow_restore_replay.core.errors import BinlogPurged, PreflightFailed
from airflow_restore_replay.core.flavor.mariadb import binlog
from airflow_restore_replay.core.flavor.mariadb.connect import connect
from airflow_restore_replay.core.flavor.mariadb.gtid import Gtid, MariaDbPosition
from airflow_restore_replay.core.flavor.mariadb.snapshot import clock
from airflow_restore_replay.core.flavor.values import Conn, Cut, Endpoint


def cut_before(primary: Endpoint, boundary: datetime, start: MariaDbPosition) -> Cut:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.cut_before`."""
    reached = {gtid.domain: gtid for gtid in start}
    with (
        contextlib.closing(connect(primary)) as conn,
        contextlib.closing(_from(primary, conn, start)) as transactions,
    ):
        now = clock(conn)
        for gtid, stamp_s in transactions:
            known = start.seq(gtid.domain) >= gtid.seq
            if stamp_s < boundary.timestamp():
                if not known:
                    reached[gtid.domain] = gtid
                continue
            stamped = datetime.fromtimestamp(stamp_s, UTC)
            if known and stamped > now:
                continue  # SET TIMESTAMP: a stamp in the future is not from the clock and proves nothing about the base
            if known:
                raise PreflightFailed(
                    f"The base stands at {start}, beyond {boundary:%Y-%m-%dT%H:%M:%SZ}: it has {gtid}, which the "
                    f"primary stamped {stamped:%Y-%m-%dT%H:%M:%SZ}.",
                    hint="Name an older base, or another time.",
                )
            return Cut(_position(reached), str(gtid), stamped)
    return Cut(_position(reached))


def _position(reached: dict[int, Gtid]) -> MariaDbPosition:
    return MariaDbPosition(tuple(sorted(reached.values())))


def _from(primary: Endpoint, conn: Conn, start: MariaDbPosition) -> Generator[tuple[Gtid, int], None, None]:
    """Yield GTID and stamp of all transactions from the beginning of the file in which *start* ends.

    Files that are created after the call are not read, because their transactions are later than any past time.
    """
    for file in _files_from(conn, start):
        with contextlib.closing(binlog.transactions(primary, file)) as events:
            for event in events:
                if gtid := binlog.gtid_of(event):
                    yield gtid, event.timestamp_s


def _files_from(conn: Conn, start: MariaDbPosition) -> list[str]:
    """Return the binary log files from the newest one before which *start* lacks no transaction.

    Each file begins with a list of the last transactions before it. These lists only grow, so a binary search finds it.

    :raises BinlogPurged: transactions before the oldest file are not in *start*.
    """
    files = binlog.files(conn)
    low, high = 0, len(files)
    while low < high:
        middle = (low + high) // 2
        if _missing(conn, files[middle], start):
            high = middle
        else:
            low = middle + 1
    if low:
        return files[low - 1 :]
    if not files:
        raise PreflightFailed("The primary writes no binary log.", hint="Set log_bin and restart it.")
    lacking = ", ".join(map(str, _missing(conn, files[0], start)))
    raise BinlogPurged(
        f"The primary's binary logs begin with {files[0]}, after {lacking}; the base stands at "
        f"{str(start) or 'their very beginning'}, and what lies between is purged.",
        hint="Keep binary logs (binlog_expire_logs_seconds, or expire_logs_days) as long as you want to go back.",
    )


def _missing(conn: Conn, file: str, start: MariaDbPosition) -> list[Gtid]:
    return [gtid for gtid in binlog.gtid_list(conn, file) if start.seq(gtid.domain) < gtid.seq]
