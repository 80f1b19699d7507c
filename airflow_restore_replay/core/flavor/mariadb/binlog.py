"""Reading a primary's binary log as a replica does: the dump protocol, raw events.

Only headers and GTID events are decoded; the rest is opaque bytes that are hashed.

Source: MariaDB documentation, "Replication Protocol", "1-Binlog Events", "GTID_EVENT".
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pymysql
from blake3 import blake3

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.base import Conn, Endpoint
from airflow_restore_replay.core.flavor.mariadb import classify
from airflow_restore_replay.core.flavor.mariadb.connect import connect, dicts, rows, run
from airflow_restore_replay.core.flavor.mariadb.gtid import Gtid, parse_gtid

_COM_BINLOG_DUMP = 0x12
# NON_BLOCK: the server ends the stream at its end instead of waiting for more.
_NON_BLOCK = 1
_HEADER = struct.Struct("<IBIIIH")
_FIRST_OFFSET = 4
_STOP, _ROTATE, _FORMAT, _CHECKPOINT, _GTID, _GTID_LIST, _ENCRYPTION = 3, 4, 15, 161, 162, 163, 164
_ENDS_A_GROUP = frozenset({_STOP, _ROTATE, _FORMAT, _CHECKPOINT, _GTID, _GTID_LIST, _ENCRYPTION})
_ARTIFICIAL = 0x20
_CRC32 = 1
# No server has this id; a dump thread of the same id would end another's.
_READER_IDS = (3_999_000_000, 900_000)
_READ_TIMEOUT_S = 300


@dataclass(frozen=True)
class Event:
    """One event as sent, without its checksum.

    :param offset: where it begins in its file; 0 when the server made it up for the stream.
    """

    kind: int
    timestamp_s: int
    server_id: int
    flags: int
    offset: int
    body: bytes

    def gtid(self) -> Gtid | None:
        """:returns: the transaction that begins here."""
        if self.kind != _GTID:
            return None
        seq, domain = struct.unpack_from("<QI", self.body)
        return Gtid(domain, self.server_id, seq)


@dataclass(frozen=True)
class Group:
    """A transaction in the binary log.

    :param digest: over its events without what depends on their place: end position and checksum.
    """

    gtid: Gtid
    timestamp_s: int
    file: str
    offset: int
    digest: str


def files(conn: Conn) -> list[str]:
    """:returns: the primary's binary log files, oldest first."""
    return [str(row["Log_name"]) for row in dicts(conn, "SHOW BINARY LOGS")]


def gtid_list(conn: Conn, file: str) -> list[Gtid]:
    """:returns: the last transaction per domain and server before *file* begins."""
    found = rows(conn, "SHOW BINLOG EVENTS IN %s LIMIT 4", (file,))
    info = next((str(row[5]) for row in found if row[2] == "Gtid_list"), "")
    return [parse_gtid(text) for text in re.findall(r"\d+-\d+-\d+", info)]


def find(primary: Endpoint, file: str, domain: int, seq: int, *, offset: int = _FIRST_OFFSET) -> Group | None:
    """Scan *file* from *offset* for a transaction.

    :returns: the group of that domain and sequence number, whichever server wrote it.
    :raises BinlogPurged, SourceCorrupt, PrimaryUnreachable: by what the primary reports.
    """
    with contextlib.closing(_events(primary, file, offset)) as events:
        for event in events:
            gtid = event.gtid()
            if gtid is not None and (gtid.domain, gtid.seq) == (domain, seq):
                return _group(gtid, event, events, file)
    return None


def at(primary: Endpoint, file: str, offset: int) -> Group | None:
    """:returns: the group that begins exactly at *offset*; None when none does."""
    # A stale hint may point into the middle of an event, which the primary reports as damage.
    unusable = (RestoreReplayError, struct.error)
    with contextlib.suppress(*unusable), contextlib.closing(_events(primary, file, offset)) as events:
        for event in events:
            if event.offset == 0 or event.kind == _FORMAT:
                continue
            gtid = event.gtid()
            return _group(gtid, event, events, file) if gtid and event.offset == offset else None
    return None


def transactions(primary: Endpoint, file: str) -> Generator[Event, None, None]:
    """:returns: the events that begin the transactions of *file*, in order, up to its present end.

    One event at a time is in memory.

    :raises BinlogPurged, SourceCorrupt, PrimaryUnreachable: by what the primary reports.
    """
    with contextlib.closing(_events(primary, file, _FIRST_OFFSET)) as events:
        yield from (event for event in events if event.kind == _GTID)


def _group(gtid: Gtid, first: Event, rest: Iterator[Event], file: str) -> Group:
    digest = blake3()
    event = first
    while True:
        digest.update(
            struct.pack(
                "<IBIIH", event.timestamp_s, event.kind, event.server_id, len(event.body), event.flags
            )
        )
        digest.update(event.body)
        following = next((e for e in rest if e.offset), None)
        if following is None or following.kind in _ENDS_A_GROUP:
            return Group(gtid, first.timestamp_s, file, first.offset, digest.hexdigest())
        event = following


def _events(primary: Endpoint, file: str, offset: int) -> Generator[Event, None, None]:
    """:returns: the events of *file* only, though the server would go on with the next file."""
    conn: Any = connect(primary, read_timeout_s=_READ_TIMEOUT_S)
    try:
        run(conn, "SET @mariadb_slave_capability=4, @master_binlog_checksum='CRC32'")
        first, count = _READER_IDS
        reader_id = first + conn.thread_id() % count
        argument = struct.pack("<IHI", offset, _NON_BLOCK, reader_id) + file.encode()
        conn._execute_command(_COM_BINLOG_DUMP, argument)
        yield from _one_file(conn)
    except pymysql.err.MySQLError as exc:
        number = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
        text = str(exc.args[1]) if len(exc.args) > 1 else str(exc)
        raise classify.io_error(number, text) from exc
    finally:
        # The stream may not be read to its end, so there is no orderly goodbye.
        conn._force_close()


def _one_file(conn: Any) -> Iterator[Event]:
    checksum_bytes = 0
    while True:
        packet = conn._read_packet()
        if packet.is_eof_packet():
            return
        data = packet.get_all_data()[1:]
        timestamp, kind, server_id, size, end, flags = _HEADER.unpack_from(data)
        if kind == _FORMAT:
            # The format event always has an algorithm byte and four bytes of checksum.
            checksum_bytes = 4 if data[-5] == _CRC32 else 0
        artificial = end == 0 or bool(flags & _ARTIFICIAL)
        if kind == _ROTATE and not artificial:
            return
        body = data[_HEADER.size : len(data) - (checksum_bytes or (4 if kind == _FORMAT else 0))]
        yield Event(kind, timestamp, server_id, flags, 0 if artificial else end - size, body)
