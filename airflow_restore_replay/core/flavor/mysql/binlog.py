"""The transactions in a MySQL binary log.

Source: MySQL source documentation, "Gtid_event", "Gtid_tagged_log_event" and "Library Serialization".
"""

from __future__ import annotations

import functools
import struct
import uuid

from airflow_restore_replay.core.flavor.binlogstream import FORMAT, ROTATE, STOP, BinaryLog, Event, Start
from airflow_restore_replay.core.flavor.log_file import understood
from airflow_restore_replay.core.flavor.mysql import classify
from airflow_restore_replay.core.flavor.mysql.connect import connect
from airflow_restore_replay.core.flavor.mysql.gtid import Gtid, Intervals, MySqlPosition, Source

_GTID, _ANONYMOUS, _PREVIOUS, _TAGGED, _HEARTBEAT, _HEARTBEAT_2 = 33, 34, 35, 42, 27, 41
# flags, UUID, number, type of the logical clock, its two values; seven bytes of microseconds follow
_FIXED = struct.Struct("<B16sQBqq")
_STAMP_BYTES = 7
#: numbers of fields of a tagged GTID event
_F_UUID, _F_NUMBER, _F_TAG, _F_STAMP = 1, 2, 3, 6


def start_of(event: Event) -> Start[Gtid] | None:
    """Return the transaction that begins with *event*, or None if none does.

    It is stamped with the time at which this primary committed it; with the event's own time if that is not recorded.
    """
    if event.kind == _GTID:
        _, raw, number, *_ = _FIXED.unpack_from(event.body)
        stamp = event.body[_FIXED.size : _FIXED.size + _STAMP_BYTES]
        # The highest bit flags that the time of the original commit follows.
        micros = int.from_bytes(stamp, "little") & ((1 << 55) - 1)
        return Start(Gtid(_server(raw), number), _seconds(micros, event))
    if event.kind == _TAGGED:
        return _tagged(event)
    return None


def _tagged(event: Event) -> Start[Gtid]:
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


@functools.lru_cache(maxsize=256)
def _server(raw: bytes) -> Source:
    return Source(str(uuid.UUID(bytes=raw)))


def _seconds(micros: int, event: Event) -> float:
    return micros / 1e6 if micros else float(event.timestamp_s)


@understood
def _listed(event: Event) -> MySqlPosition | None:
    """Return the set that a Previous_gtids event lists.

    Source: MySQL source, ``Gtid_set::encode`` and ``Gtid_set::encode_nsids_format``.
    """
    if event.kind != _PREVIOUS:
        return None
    (head,) = struct.unpack_from("<Q", event.body)
    # The last byte is 1 if the sources have tags; it and the first byte then frame the number of sources.
    tagged = head >> 56 == 1
    count, at = ((head >> 8) & (2**48 - 1) if tagged else head), 8
    runs_of: dict[Source, Intervals] = {}
    for _ in range(count):
        source, at = _source(event.body, at, tagged=tagged)
        (runs,) = struct.unpack_from("<Q", event.body, at)
        at += 8
        found = [struct.unpack_from("<QQ", event.body, at + 16 * index) for index in range(runs)]
        at += 16 * runs
        # The end of an interval is exclusive.
        runs_of[source] = tuple((a, b - 1) for a, b in found)
    return MySqlPosition().union(MySqlPosition(runs_of))


def _source(body: bytes, at: int, *, tagged: bool) -> tuple[Source, int]:
    uid = str(uuid.UUID(bytes=body[at : at + 16]))
    at += 16
    if not tagged:
        return Source(uid), at
    reader = _Reader(body[at:])
    tag = reader.text()
    return Source(uid, tag), at + reader.at


class _Reader:
    """Reader of MySQL's variable-length numbers.

    As many bytes follow the first as it has trailing one bits.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at(self) -> int:
        return self._at

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


LOG = BinaryLog(
    connect=connect,
    announce="SET @source_binlog_checksum='CRC32', @master_binlog_checksum='CRC32'",
    classify=classify.RULES.io_error,
    start_of=start_of,
    ends=frozenset({STOP, ROTATE, FORMAT, _GTID, _ANONYMOUS, _PREVIOUS, _TAGGED, _HEARTBEAT, _HEARTBEAT_2}),
    heading="Previous_gtids",
    parse=MySqlPosition.parse,
    listed=_listed,
    lacking=lambda position, listed: position.lacking(listed),
    keeping="binlog_expire_logs_seconds",
)
transactions, before = LOG.transactions, LOG.before
