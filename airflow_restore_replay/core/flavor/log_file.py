"""Read the events of a binary log file that is at hand, not on a primary.

A copy that ``mariadb-binlog --raw`` or ``mysqlbinlog --raw`` made has the events as a replica gets them: not encrypted,
even if the primary encrypts its files. End positions inside events are not always the copy's: MySQL's encrypted files
are longer, and MariaDB writes no end positions into the events of a transaction since 11.8. Places in this module are
the copy's own.

Source: MySQL source documentation, "Binary log event structure"; MariaDB documentation, "1-Binlog Events".
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from airflow_restore_replay.core.flavor.binlogstream import CRC32, FORMAT, HEADER, Event

MAGIC = b"\xfebin"
#: the protocol's limit of an event, and some room
MAX_EVENT_BYTES = 2**30 + 2**20
#: MariaDB's event after which a file is encrypted. A copy has it, too, and then the events as they are.
ENCRYPTION, _GTID_LIST, _CHECKPOINT = 164, 163, 161
#: flag of the format event while the server writes the file; it is set later, and no part of the checksum
_IN_USE = 1
_FLAGS_AT = 17
_CHECKSUM_BYTES = 4

T = TypeVar("T")


class LogDamaged(Exception):
    """Bytes that are no binary log; the text, a clause, says what was observed, and where."""


@dataclass(frozen=True)
class LogEvent:
    """An event in a file.

    :param event: the decoded header and body; its ``offset`` is where it begins in this file.
    :param end: where it ends, with its checksum.
    :param end_on_primary: where it ends in the primary's own file, as its header states; 0 if it states nothing.
    """

    event: Event
    end: int
    end_on_primary: int


def log_events(file: BinaryIO, *, begin: int = 0, checksum_bytes: int = 0) -> Generator[LogEvent, None, None]:
    """Yield the whole events from the present place of *file*; an incomplete event at its end is not yielded.

    :param begin: the offset of that place. At 0, the file's magic number is expected first.
    :param checksum_bytes: of each event, if the reading does not begin with the file's format event.
    :raises LogDamaged: what follows is no event, is not what its checksum says, or is encrypted by the server.
    """
    if begin == 0 and (begin := _after_magic(file)) == 0:
        return
    before = FORMAT
    while True:
        header = file.read(HEADER.size)
        if len(header) < HEADER.size:
            return
        timestamp_s, kind, server_id, size, end, flags = HEADER.unpack(header)
        if before == ENCRYPTION:
            refuse_ciphertext(header, begin)
        if not HEADER.size <= size <= MAX_EVENT_BYTES:
            raise LogDamaged(f"the event at {begin} claims {size} bytes")
        body = file.read(size - HEADER.size)
        if len(body) < size - HEADER.size:
            return
        if kind == FORMAT:
            checksum_bytes = _checksum_bytes(body, begin)
        cut = checksum_bytes or (_CHECKSUM_BYTES if kind == FORMAT else 0)
        if checksum_bytes:
            _verify(header, body, begin)
        event = Event(kind, timestamp_s, server_id, flags, begin, body[: len(body) - cut])
        begin += size
        before = kind
        yield LogEvent(event, begin, end)


def refuse_ciphertext(header: bytes, begin: int) -> None:
    """Raise unless *header* is that of the event that follows MariaDB's event about encryption in a copy."""
    kind, size, end = header[4], *struct.unpack_from("<II", header, 9)
    if kind != _GTID_LIST or end != begin + size:
        raise LogDamaged(f"the server encrypted it from {begin} on")


def servable(head: bytes) -> bytes:
    """Return the first bytes of a copy as a server can send them on, without changing a place in them.

    The event about MariaDB's encryption makes a server look for the key, and decrypt what is not encrypted. An event of
    the same size takes its place that replicas pass over.

    :param head: with the first two events; other files' are returned as they are.
    """
    format_end = len(MAGIC) + int.from_bytes(head[13:17], "little")
    header = head[format_end : format_end + HEADER.size]
    if len(header) < HEADER.size or header[4] != ENCRYPTION:
        return head
    timestamp_s, _, server_id, size, end, _ = HEADER.unpack(header)
    if len(head) < format_end + size:
        raise LogDamaged("the event about encryption is incomplete")
    checksum_bytes = _checksum_bytes(head[len(MAGIC) + HEADER.size : format_end], len(MAGIC))
    name = b"binlog".ljust(size - HEADER.size - checksum_bytes - 4, b".")
    event = (
        HEADER.pack(timestamp_s, _CHECKPOINT, server_id, size, end, 0) + struct.pack("<I", len(name)) + name
    )
    if checksum_bytes:
        event += zlib.crc32(event).to_bytes(checksum_bytes, "little")
    return head[:format_end] + event + head[format_end + size :]


def _after_magic(file: BinaryIO) -> int:
    """Return the offset after the file's magic number, or 0 if that is incomplete."""
    magic = file.read(len(MAGIC))
    if not MAGIC.startswith(magic):
        raise LogDamaged(f"it begins with {magic.hex()}, not with {MAGIC.hex()}")
    return len(magic) if magic == MAGIC else 0


def _checksum_bytes(body: bytes, begin: int) -> int:
    """Return how long the checksum of each event is, as the format event says."""
    # It always has an algorithm byte and four bytes of checksum.
    if len(body) <= _CHECKSUM_BYTES:
        raise LogDamaged(f"the format event at {begin} has {len(body)} bytes")
    algorithm = body[-_CHECKSUM_BYTES - 1]
    if algorithm not in (0, CRC32):
        raise LogDamaged(f"the format event at {begin} names the checksum algorithm {algorithm}")
    return _CHECKSUM_BYTES if algorithm == CRC32 else 0


def _verify(header: bytes, body: bytes, begin: int) -> None:
    if header[4] == FORMAT:
        header = header[:_FLAGS_AT] + bytes([header[_FLAGS_AT] & ~_IN_USE]) + header[_FLAGS_AT + 1 :]
    if len(body) < _CHECKSUM_BYTES:
        raise LogDamaged(f"the event at {begin} has no room for its checksum")
    found = zlib.crc32(body[:-_CHECKSUM_BYTES], zlib.crc32(header))
    stored = int.from_bytes(body[-_CHECKSUM_BYTES:], "little")
    if found != stored:
        raise LogDamaged(f"the event at {begin} has the checksum {stored:08x}, its bytes have {found:08x}")


def understood(read: Callable[[Event], T]) -> Callable[[Event], T]:
    """Make a decoder of events raise :class:`LogDamaged` for an event that no server writes."""

    @functools.wraps(read)
    def reading(event: Event) -> T:
        try:
            return read(event)
        except (struct.error, LookupError, ValueError) as exc:
            text = f"the event at {event.offset}, of type {event.kind}, does not decode"
            raise LogDamaged(f"{text}: {type(exc).__name__}: {exc}") from exc

    return reading


def gtids_in_list(body: bytes) -> list[tuple[int, int, int]]:
    """Return domain, server id and sequence number of each transaction that MariaDB's Gtid_list event names."""
    count = struct.unpack_from("<I", body)[0] & 0x0FFFFFFF
    found = (struct.unpack_from("<IIQ", body, 4 + 16 * index) for index in range(count))
    return [(domain, server_id, seq) for domain, server_id, seq in found]
