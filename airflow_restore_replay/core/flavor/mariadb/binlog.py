"""The transactions in a MariaDB binary log.

Only GTID events are decoded; all other events are hashed as opaque bytes.

Source: MariaDB documentation, "Replication Protocol", "1-Binlog Events", "GTID_EVENT".
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.binlogstream import (
    FIRST_OFFSET,
    FORMAT,
    READ_TIMEOUT_S,
    ROTATE,
    STOP,
    Event,
    digest_group,
    events,
)
from airflow_restore_replay.core.flavor.mariadb import classify
from airflow_restore_replay.core.flavor.mariadb.connect import connect
from airflow_restore_replay.core.flavor.mariadb.gtid import Gtid, MariaDbPosition, parse_gtid
from airflow_restore_replay.core.flavor.sql import dicts, rows
from airflow_restore_replay.core.flavor.values import Conn, Endpoint

_CHECKPOINT, _GTID, _GTID_LIST, _ENCRYPTION = 161, 162, 163, 164
_ENDS_A_GROUP = frozenset({STOP, ROTATE, FORMAT, _CHECKPOINT, _GTID, _GTID_LIST, _ENCRYPTION})


@dataclass(frozen=True)
class Group:
    """A transaction in the binary log.

    :param digest: digest of its events without end position and checksum, which depend on their place.
    """

    gtid: Gtid
    timestamp_s: int
    file: str
    offset: int
    digest: str


def files(conn: Conn) -> list[str]:
    """Return the primary's binary log files, oldest first."""
    return [str(row["Log_name"]) for row in dicts(conn, "SHOW BINARY LOGS")]


def gtid_list(conn: Conn, file: str) -> list[Gtid]:
    """Return the last transaction of each domain and server before *file* begins."""
    found = rows(conn, "SHOW BINLOG EVENTS IN %s LIMIT 4", (file,))
    info = next((str(row[5]) for row in found if row[2] == "Gtid_list"), "")
    return [parse_gtid(text) for text in re.findall(r"\d+-\d+-\d+", info)]


def find(primary: Endpoint, file: str, domain: int, seq: int, *, offset: int = FIRST_OFFSET) -> Group | None:
    """Scan *file* from *offset* for a transaction.

    :returns: the group with that domain and sequence number, whichever server wrote it; None if there is none.
    :raises BinlogPurged, SourceCorrupt, PrimaryUnreachable: depending on the error that the primary reports.
    """
    with contextlib.closing(_events(primary, file, offset)) as found:
        for event in found:
            gtid = gtid_of(event)
            if gtid is not None and (gtid.domain, gtid.seq) == (domain, seq):
                return _group(gtid, event, found, file)
    return None


def at(primary: Endpoint, file: str, offset: int) -> Group | None:
    """Return the group that begins exactly at *offset*, or None if none does."""
    # A stale hint may point into the middle of an event, which the primary reports as corruption.
    unusable = (RestoreReplayError, struct.error)
    with contextlib.suppress(*unusable), contextlib.closing(_events(primary, file, offset)) as found:
        for event in found:
            if event.offset == 0 or event.kind == FORMAT:
                continue
            gtid = gtid_of(event)
            return _group(gtid, event, found, file) if gtid and event.offset == offset else None
    return None


def transactions(primary: Endpoint, file: str) -> Generator[Event, None, None]:
    """Yield the first event of each transaction of *file*, in order, up to its present end.

    Only one event at a time is in memory.

    :raises BinlogPurged, SourceCorrupt, PrimaryUnreachable: depending on the error that the primary reports.
    """
    with contextlib.closing(_events(primary, file, FIRST_OFFSET)) as found:
        yield from (event for event in found if event.kind == _GTID)


def position_at(primary: Endpoint, conn: Conn, file: str, offset: int) -> MariaDbPosition:
    """Read the position at an offset of *file* from the file itself.

    This replaces ``BINLOG_GTID_POS`` if that returns NULL. ``BINLOG_GTID_POS`` reads the file as any session does, and
    stops at an event that is larger than the primary's max_allowed_packet, as one row may be. Replication reads on.
    """
    # Of the servers of a domain, the list has the one that wrote last at the end.
    last = {gtid.domain: gtid for gtid in gtid_list(conn, file)}
    with contextlib.closing(transactions(primary, file)) as found:
        for event in found:
            gtid = gtid_of(event)
            if event.offset >= offset:
                break
            if gtid:
                last[gtid.domain] = gtid
    return MariaDbPosition(tuple(sorted(last.values())))


def gtid_of(event: Event) -> Gtid | None:
    """Return the transaction that begins with *event*, or None if none does."""
    if event.kind != _GTID:
        return None
    seq, domain = struct.unpack_from("<QI", event.body)
    return Gtid(domain, event.server_id, seq)


def _group(gtid: Gtid, first: Event, rest: Iterator[Event], file: str) -> Group:
    digest = digest_group(first, rest, _ENDS_A_GROUP)
    return Group(gtid, first.timestamp_s, file, first.offset, digest)


def _events(primary: Endpoint, file: str, offset: int) -> Generator[Event, None, None]:
    return events(
        connect(primary, read_timeout_s=READ_TIMEOUT_S),
        file,
        offset,
        announce="SET @mariadb_slave_capability=4, @master_binlog_checksum='CRC32'",
        classify=classify.RULES.io_error,
    )
