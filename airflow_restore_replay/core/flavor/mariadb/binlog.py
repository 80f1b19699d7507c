"""The transactions in a MariaDB binary log.

Source: MariaDB documentation, "Replication Protocol", "1-Binlog Events", "GTID_EVENT".
"""

from __future__ import annotations

import contextlib
import itertools
import re
import struct

from airflow_restore_replay.core.flavor.binlogstream import FORMAT, ROTATE, STOP, BinaryLog, Event, Start
from airflow_restore_replay.core.flavor.log_file import gtids_in_list, understood
from airflow_restore_replay.core.flavor.mariadb import classify
from airflow_restore_replay.core.flavor.mariadb.connect import connect
from airflow_restore_replay.core.flavor.mariadb.gtid import Gtid, MariaDbPosition, parse_gtid
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position

_CHECKPOINT, _GTID, _GTID_LIST, _ENCRYPTION = 161, 162, 163, 164


def start_of(event: Event) -> Start[Gtid] | None:
    """Return the transaction that begins with *event*, or None if none does."""
    if event.kind != _GTID:
        return None
    seq, domain = struct.unpack_from("<QI", event.body)
    return Start(Gtid(domain, event.server_id, seq), event.timestamp_s)


def _gtid_list(text: str) -> list[Gtid]:
    """Return the last transaction of each domain and server; the server of a domain that wrote last is at the end."""
    return [parse_gtid(found) for found in re.findall(r"[0-9]+-[0-9]+-[0-9]+", text)]


@understood
def _listed(event: Event) -> MariaDbPosition | None:
    if event.kind != _GTID_LIST:
        return None
    return MariaDbPosition().extended(Gtid(*parts) for parts in gtids_in_list(event.body))


def _lacking(position: Position, listed: list[Gtid]) -> str:
    """Return the transactions of *listed* that *position* does not contain, as text."""
    had = MariaDbPosition.parse(str(position))
    return ", ".join(str(gtid) for gtid in listed if not had.has(gtid))


LOG = BinaryLog(
    connect=connect,
    announce="SET @mariadb_slave_capability=4, @master_binlog_checksum='CRC32'",
    classify=classify.RULES.io_error,
    start_of=start_of,
    ends=frozenset({STOP, ROTATE, FORMAT, _CHECKPOINT, _GTID, _GTID_LIST, _ENCRYPTION}),
    heading="Gtid_list",
    parse=_gtid_list,
    listed=_listed,
    lacking=_lacking,
    keeping="binlog_expire_logs_seconds, or expire_logs_days",
)
transactions = LOG.transactions


def position_at(primary: Endpoint, conn: Conn, file: str, offset: int) -> MariaDbPosition:
    """Read the position at an offset of *file* from the file itself.

    This replaces ``BINLOG_GTID_POS`` if that returns NULL. ``BINLOG_GTID_POS`` reads the file as any session does, and
    stops at an event that is larger than the primary's max_allowed_packet, as one row may be. Replication reads on.
    """
    with contextlib.closing(LOG.events(primary, file)) as found:
        earlier = itertools.takewhile(lambda event: event.offset < offset, found)
        starts = (start.gtid for event in earlier if (start := LOG.start(event)))
        return MariaDbPosition().extended(LOG.before(conn, file)).extended(starts)
