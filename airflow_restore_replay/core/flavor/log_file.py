"""Read the events of a binary log file that is at hand, not on a primary.

A copy that ``mariadb-binlog --raw`` or ``mysqlbinlog --raw`` made has the events as a replica gets them. If the
primary encrypts its files, the copy is shorter than the original, so the end positions inside events are not the
copy's. Places in this module are the copy's own.

Source: MySQL source documentation, "Binary log event structure"; MariaDB documentation, "1-Binlog Events".
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import BinaryIO

from airflow_restore_replay.core.flavor.binlogstream import CRC32, FORMAT, HEADER, Event

MAGIC = b"\xfebin"
#: the protocol's limit of an event, and some room
MAX_EVENT_BYTES = 2**30 + 2**20


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
    :raises LogDamaged: what follows is no event.
    """
    if begin == 0:
        magic = file.read(len(MAGIC))
        if len(magic) < len(MAGIC):
            return
        if magic != MAGIC:
            raise LogDamaged(f"it begins with {magic.hex()}, not with {MAGIC.hex()}")
        begin = len(MAGIC)
    while True:
        header = file.read(HEADER.size)
        if len(header) < HEADER.size:
            return
        timestamp_s, kind, server_id, size, end, flags = HEADER.unpack(header)
        if not HEADER.size <= size <= MAX_EVENT_BYTES:
            raise LogDamaged(f"the event at {begin} claims {size} bytes")
        body = file.read(size - HEADER.size)
        if len(body) < size - HEADER.size:
            return
        if kind == FORMAT:
            # The format event always has an algorithm byte and four bytes of checksum.
            checksum_bytes = 4 if body[-5] == CRC32 else 0
        cut = checksum_bytes or (4 if kind == FORMAT else 0)
        event = Event(kind, timestamp_s, server_id, flags, begin, body[: len(body) - cut])
        begin += size
        yield LogEvent(event, begin, end)


def gtids_in_list(body: bytes) -> list[tuple[int, int, int]]:
    """Return domain, server id and sequence number of each transaction that MariaDB's Gtid_list event names."""
    count = struct.unpack_from("<I", body)[0] & 0x0FFFFFFF
    found = (struct.unpack_from("<IIQ", body, 4 + 16 * index) for index in range(count))
    return [(domain, server_id, seq) for domain, server_id, seq in found]
