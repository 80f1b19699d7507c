"""The transactions in a MySQL binary log.

Only GTID events are decoded; all other events are hashed as opaque bytes.

Source: MySQL source documentation, "Gtid_event", "Gtid_tagged_log_event" and "Library Serialization".
"""

from __future__ import annotations

import contextlib
import struct
import uuid
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
from airflow_restore_replay.core.flavor.mysql import classify
from airflow_restore_replay.core.flavor.mysql.connect import connect
from airflow_restore_replay.core.flavor.mysql.gtid import Gtid, MySqlPosition, Source
from airflow_restore_replay.core.flavor.sql import dicts, rows
from airflow_restore_replay.core.flavor.values import Conn, Endpoint

_GTID, _ANONYMOUS, _PREVIOUS, _TAGGED, _HEARTBEAT, _HEARTBEAT_2 = 33, 34, 35, 42, 27, 41
_BEGINS = frozenset({_GTID, _TAGGED})
_ENDS_A_GROUP = frozenset(
    {STOP, ROTATE, FORMAT, _GTID, _ANONYMOUS, _PREVIOUS, _TAGGED, _HEARTBEAT, _HEARTBEAT_2}
)
# flags, UUID, number, type of the logical clock, its two values; seven bytes of microseconds follow
_FIXED = struct.Struct("<B16sQBqq")
_STAMP_BYTES = 7
#: numbers of fields of a tagged GTID event
_F_UUID, _F_NUMBER, _F_TAG, _F_STAMP = 1, 2, 3, 6


@dataclass(frozen=True)
class Start:
    """The event that begins a transaction.

    :param committed_s: when this primary committed it, as Unix time; the event's own time if that is not recorded.
    """

    gtid: Gtid
    committed_s: float


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


def before(conn: Conn, file: str) -> MySqlPosition:
    """Return all transactions that were logged before *file* begins."""
    found = rows(conn, "SHOW BINLOG EVENTS IN %s LIMIT 4", (file,))
    info = next((str(row[5]) for row in found if row[2] == "Previous_gtids"), "")
    return MySqlPosition.parse(info)


def start_of(event: Event) -> Start | None:
    """Return the transaction that begins with *event*, or None if none does."""
    if event.kind == _GTID:
        _, raw, number, *_ = _FIXED.unpack_from(event.body)
        stamp = event.body[_FIXED.size : _FIXED.size + _STAMP_BYTES]
        # The highest bit flags that the time of the original commit follows.
        micros = int.from_bytes(stamp, "little") & ((1 << 55) - 1)
        return Start(Gtid(Source(str(uuid.UUID(bytes=raw))), number), _seconds(micros, event))
    if event.kind == _TAGGED:
        return _tagged(event)
    return None


def find(primary: Endpoint, file: str, gtid: Gtid, *, offset: int = FIRST_OFFSET) -> Group | None:
    """Scan *file* from *offset* for a transaction.

    :raises BinlogPurged, SourceCorrupt, PrimaryUnreachable: depending on the error that the primary reports.
    """
    with contextlib.closing(_events(primary, file, offset)) as found:
        for event in found:
            start = start_of(event)
            if start is not None and start.gtid == gtid:
                return _group(gtid, event, found, file)
    return None


def at(primary: Endpoint, file: str, offset: int) -> Group | None:
    """Return the group that begins exactly at *offset*, or None if none does."""
    # A stale hint may point into the middle of an event, which the primary reports as corruption.
    unusable = (RestoreReplayError, struct.error, IndexError, ValueError)
    with contextlib.suppress(*unusable), contextlib.closing(_events(primary, file, offset)) as found:
        for event in found:
            if event.offset == 0 or event.kind in (FORMAT, _PREVIOUS):
                continue
            start = start_of(event)
            return _group(start.gtid, event, found, file) if start and event.offset == offset else None
    return None


def transactions(primary: Endpoint, file: str) -> Generator[Start, None, None]:
    """Yield the transactions of *file*, in order, up to its present end.

    Only one event at a time is in memory.

    :raises BinlogPurged, SourceCorrupt, PrimaryUnreachable: depending on the error that the primary reports.
    """
    with contextlib.closing(_events(primary, file, FIRST_OFFSET)) as found:
        yield from (start for event in found if (start := start_of(event)))


def _group(gtid: Gtid, first: Event, rest: Iterator[Event], file: str) -> Group:
    digest = digest_group(first, rest, _ENDS_A_GROUP)
    return Group(gtid, first.timestamp_s, file, first.offset, digest)


def _tagged(event: Event) -> Start:
    """Decode a tagged GTID event: a sequence of numbered fields, always with all of them up to the timestamp."""
    reader = _Reader(event.body)
    (
        reader.unsigned(),
        reader.unsigned(),
        reader.unsigned(),
    )  # version, size, last field that must be understood
    values: dict[int, int] = {}
    raw, tag = b"", ""
    while reader.more and _F_STAMP not in values:
        field = reader.unsigned()
        if field == _F_UUID:
            raw = bytes(reader.unsigned() for _ in range(16))
        elif field == _F_TAG:
            tag = reader.text()
        else:
            values[field] = reader.unsigned()
    number = values[_F_NUMBER] >> 1  # the sign is the lowest bit
    source = Source(str(uuid.UUID(bytes=raw)), tag)
    return Start(Gtid(source, number), _seconds(values.get(_F_STAMP, 0), event))


def _seconds(micros: int, event: Event) -> float:
    return micros / 1e6 if micros else float(event.timestamp_s)


class _Reader:
    """Reader of MySQL's variable-length numbers.

    As many bytes follow the first as it has trailing one bits.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def unsigned(self) -> int:
        first = self._data[self._at]
        ones = (~first & (first + 1)).bit_length() - 1
        length = ones + 1
        raw = int.from_bytes(self._data[self._at : self._at + length], "little")
        self._at += length
        return raw >> min(length, 8)

    def text(self) -> str:
        length = self.unsigned()
        self._at += length
        return self._data[self._at - length : self._at].decode("ascii")


def _events(primary: Endpoint, file: str, offset: int) -> Generator[Event, None, None]:
    return events(
        connect(primary, read_timeout_s=READ_TIMEOUT_S),
        file,
        offset,
        announce="SET @source_binlog_checksum='CRC32', @master_binlog_checksum='CRC32'",
        classify=classify.RULES.io_error,
    )
