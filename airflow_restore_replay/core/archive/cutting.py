"""Cut a binary log file, while it is received, into pieces that end where a transaction ends.

A transaction ends with the event that commits it, where the next group of events begins, and at the end of the
primary's binary log as the primary itself states it
(:meth:`~airflow_restore_replay.core.flavor.log_program.LogProgram.end`). Nothing is inferred from other events.

Each event's checksum is verified, and each group must begin where the primary says, so that no event can be missing in
between.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from airflow_restore_replay.core.archive.pieces import MAX_PART_BYTES
from airflow_restore_replay.core.archive.tally import Cut, Tally
from airflow_restore_replay.core.flavor.binlog_cut import Growing
from airflow_restore_replay.core.flavor.binlogstream import CRC32, FORMAT, HEADER, BinaryLog, Event
from airflow_restore_replay.core.flavor.log_file import MAGIC, MAX_EVENT_BYTES, LogDamaged

_BLOCK_BYTES = 2**20
_MOST_FORMAT_BYTES = 2**12
#: events that end a transaction: Xid_event, and Transaction_payload_event, which is a whole one
_COMMITS = frozenset({16, 40})
#: kind, time and server of an event
_IDENTITY = struct.Struct("<BII")
_UINT32 = 2**32 - 1
#: kind, size, and end on the primary
_FIELDS = struct.Struct("<4xB4xII2x")
#: CRC32 of anything that its own CRC32 follows
_RESIDUE = 0x2144DF1C


class Unlike(LogDamaged):
    """A file that is not the one that is archived; the text, a clause, says how that shows."""


@dataclass(frozen=True)
class Place:
    """Where the archive ends within a file, and where to receive it from again so that this is proven.

    :param offset: of an event, from which the file is received again; 0 for its beginning.
    :param position: before the events there; empty at the beginning, which has a heading.
    :param archived_to: up to there the file is archived.
    :param after: the position there.
    :param digest: of the file's beginning.
    """

    offset: int = 0
    position: str = ""
    archived_to: int = 0
    after: str = ""
    digest: str = ""

    @property
    def on_primary(self) -> int:
        """Return the offset in the primary's file to receive from; the protocol has 32 bits for it."""
        return self.offset if len(MAGIC) < self.offset <= _UINT32 else len(MAGIC)

    @property
    def again_bytes(self) -> int:
        """Return how much is received again."""
        return self.archived_to - (0 if self.on_primary == len(MAGIC) else self.offset)


class Cutter:
    """Reads one received file as far as it has arrived, and cuts it.

    :param received: the file. It begins with magic number and format event, and continues at *place*.
    :param position: the position of *place*; None at the beginning of a file.
    :ivar listed: what the file's heading lists; None until that has arrived.
    :ivar digest: of format event and heading.
    :ivar scanned: end of the last whole event that was read.
    """

    def __init__(
        self,
        log: BinaryLog[Any, Any],
        received: Path,
        place: Place = Place(),  # noqa: B008 - it is immutable
        position: Growing[Any] | None = None,
    ) -> None:
        self._log = log
        self._place = place
        self._descriptor = os.open(received, os.O_RDONLY | os.O_CLOEXEC)
        self._base: int | None = None
        self._checksum_bytes = 0
        self._identity = blake3()
        self._goal = 0
        self._continued = not place.archived_to
        self.digest = place.digest
        self.listed: Any = None
        self.scanned = place.offset
        self.tally = Tally(position, place.offset)

    def close(self) -> None:
        os.close(self._descriptor)

    @property
    def continued(self) -> bool:
        """Return whether all that is archived of the file has been received again."""
        return self._continued

    def aim(self, offset: int) -> None:
        """Take *offset* of the primary's file for an end of a transaction."""
        self._goal = offset
        if self.scanned == offset:
            self.tally.end(self.scanned)

    @property
    def reached(self) -> bool:
        """Return whether all before the offset of :meth:`aim` has been read."""
        return bool(self._goal) and self._continued and self.tally.boundary >= self._goal

    @property
    def ready_bytes(self) -> int:
        """Return how much has arrived since the last cut that ends with a transaction."""
        return self.tally.boundary - self.tally.begin if self._continued and self.tally.known else 0

    def scan(self) -> Cut | None:
        """Read what has arrived.

        :returns: a piece, when the next event would make it too large; None if more must arrive first.
        :raises LogDamaged: the file is no binary log, or has an event that is not as it was sent.
        """
        if self._base is None and not self._read_format():
            return None
        assert self._base is not None
        while True:
            block = os.pread(self._descriptor, _BLOCK_BYTES, self.scanned - self._base)
            before = self.scanned
            try:
                full = self._read(block)
            except (struct.error, LookupError, ValueError) as exc:
                raise LogDamaged(f"the event at {self.scanned} is none: {type(exc).__name__}: {exc}") from exc
            if self.scanned == self._place.archived_to and not self._continued:
                self._continue()
            elif full and self._continued and self.scanned > self.tally.begin:
                boundary = self.tally.boundary
                return self.tally.cut(boundary if boundary > self.tally.begin else self.scanned)
            elif self.scanned == before:
                return None

    def cut(self) -> Cut:
        """Return the piece up to the last place where a transaction has ended."""
        return self.tally.cut(self.tally.boundary)

    def content(self, begin: int, end: int) -> bytes:
        """Return bytes by their place in the file."""
        assert self._base is not None
        data = os.pread(self._descriptor, end - begin, begin - self._base)
        if len(data) < end - begin:
            raise LogDamaged(f"it lacks bytes between {begin} and {end}")
        return data

    def _continue(self) -> None:
        place = self._place
        if not self.tally.continue_at(place.archived_to, place.after):
            raise Unlike(f"the position at {place.archived_to} is not {place.after or 'empty'}")
        if not place.offset and self.digest != place.digest:
            raise Unlike("it begins in another way")
        self._continued = True

    def _read_format(self) -> bool:
        """Read magic number and format event, which the copy begins with, wherever it continues."""
        head = os.pread(self._descriptor, len(MAGIC) + _MOST_FORMAT_BYTES, 0)
        if not MAGIC.startswith(head[: len(MAGIC)]):
            raise LogDamaged(f"it begins with {head[: len(MAGIC)].hex()}, not with {MAGIC.hex()}")
        if len(head) < len(MAGIC) + HEADER.size:
            return False
        stamp_s, kind, server_id, size, _, _ = HEADER.unpack_from(head, len(MAGIC))
        if kind != FORMAT or not HEADER.size + 5 < size <= _MOST_FORMAT_BYTES:
            raise LogDamaged(f"its first event is of kind {kind} and has {size} bytes, so it is no format")
        end = len(MAGIC) + size
        if len(head) < end:
            return False
        # The format event always has an algorithm byte and four bytes of checksum.
        self._checksum_bytes = 4 if head[end - 5] == CRC32 else 0
        if self._place.on_primary > len(MAGIC):
            if (begin := self._first_sent(head, end)) is None:
                return False
            self._base = self._place.offset - begin
        elif self._place.offset:
            self._base = 0
        else:
            self._base, self.scanned = 0, end
            self._identify(head[len(MAGIC) : end - 4], kind, stamp_s, server_id)
        return True

    def _first_sent(self, head: bytes, at: int) -> int | None:
        """Return where the events from the place on begin in the copy; None if that has not arrived.

        If the primary encrypts its file, it sends one more event after the format, from the file's beginning.
        """
        while at + HEADER.size <= len(head):
            _, _, _, size, end, _ = HEADER.unpack_from(head, at)
            if end - size == self._place.offset:
                return at
            at += size
        if at < len(head) + HEADER.size and len(head) < len(MAGIC) + _MOST_FORMAT_BYTES:
            return None
        raise LogDamaged(f"no event of it begins at {self._place.offset}")

    def _read(self, block: bytes) -> bool:
        """Read the whole events of *block*, and return whether the next one belongs to another piece."""
        unpack, crc32, ends = _FIELDS.unpack_from, zlib.crc32, self._log.ends
        view, there = memoryview(block), len(block)
        checksum_bytes, goal = self._checksum_bytes, self._goal & _UINT32 or -1
        first, at, full = self.scanned, 0, False
        last, last_header = min(there, self._most() - first), there - HEADER.size
        while at <= last_header:
            kind, size, end = unpack(block, at)
            stop = at + size
            if not HEADER.size <= size <= MAX_EVENT_BYTES:
                raise LogDamaged(f"the event at {first + at} claims {size} bytes")
            if stop > last and (full := self._is_full(first + at, size)):
                break
            if stop > there:
                if not at and there == _BLOCK_BYTES and self._pass_large(kind, size):
                    at = size
                break
            if checksum_bytes and crc32(view[at:stop]) != _RESIDUE:
                raise _unlike_its_checksum(first + at)
            if kind in ends:
                self._begin_group(block[at : stop - checksum_bytes], first + at, size)
                last = min(there, self._most() - first)
            at = stop
            if end == goal or kind in _COMMITS:
                self.tally.end(first + at)
        self.scanned = first + at
        self.tally.settle(self.scanned)
        if full and not self._continued and self.scanned != self._place.archived_to:
            raise Unlike(f"no event ends at {self._place.archived_to}, up to where it is archived")
        return full

    def _most(self) -> int:
        """Return where the present piece, or what was received again, ends at the latest."""
        return self.tally.begin + MAX_PART_BYTES if self._continued else self._place.archived_to

    def _is_full(self, offset: int, size: int) -> bool:
        """Return whether the event at *offset* belongs to another piece; one that is too large has one of its own."""
        return offset + size > self._most() and (offset > self.tally.begin or not self._continued)

    def _pass_large(self, kind: int, size: int) -> bool:
        """Read the next event, which is larger than a block, and return whether all of it has arrived."""
        assert self._base is not None
        begin = self.scanned - self._base
        if os.fstat(self._descriptor).st_size < begin + size:
            return False
        if self._checksum_bytes:
            checksum, at = 0, begin
            while at < begin + size:
                data = os.pread(self._descriptor, min(_BLOCK_BYTES, begin + size - at), at)
                checksum, at = zlib.crc32(data, checksum), at + len(data)
            if checksum != _RESIDUE:
                raise _unlike_its_checksum(self.scanned)
        if kind in self._log.ends:
            data = self.content(self.scanned, self.scanned + size - self._checksum_bytes)
            self._begin_group(data, self.scanned, size)
        if size + self.scanned == self._goal or kind in _COMMITS:
            self.tally.end(self.scanned + size)
        return True

    def _begin_group(self, data: bytes, offset: int, size: int) -> None:
        stamp_s, kind, server_id, _, end, flags = HEADER.unpack_from(data)
        event = Event(kind, stamp_s, server_id, flags, offset, data[HEADER.size :])
        start = self._log.start_of(event)
        self.tally.group(offset, start)
        if start is None and not self.tally.known and (listed := self._log.listed(event)) is not None:
            self.listed = listed
            self.tally.head(self.listed)
            self._identify(data, kind, stamp_s, server_id)
            self.digest = self._identity.hexdigest()
        elif start is not None and not self.tally.known:
            raise LogDamaged("it has no heading that lists what was logged before it")
        if (offset + size - end) & _UINT32:
            raise LogDamaged(
                f"the event at {offset} ends at {end} on the primary: there are others before it"
            )

    def _identify(self, data: bytes, kind: int, stamp_s: int, server_id: int) -> None:
        self._identity.update(_IDENTITY.pack(kind, stamp_s, server_id) + data[HEADER.size :])


def _unlike_its_checksum(offset: int) -> LogDamaged:
    return LogDamaged(f"the event at {offset} does not have its checksum")
