"""Read the transactions in a primary's binary log as a replica does.

Only headers are decoded here. Each flavor decodes its GTID events; all other events are hashed as opaque bytes.

Source: MySQL manual and MariaDB documentation, "Replication Protocol", "COM_BINLOG_DUMP".
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Generator, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import pymysql
from blake3 import blake3

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.sql import dicts, rows, run
from airflow_restore_replay.core.flavor.values import READER_SERVER_IDS, Conn, Endpoint, Position

STOP, ROTATE, FORMAT = 3, 4, 15

#: offset of the first event in a file
_FIRST_OFFSET = 4
_READ_TIMEOUT_S = 300
_PREVIOUS = 35

_COM_BINLOG_DUMP = 0x12
# NON_BLOCK: the server ends the stream at the end of the log instead of waiting for more events.
_NON_BLOCK = 1
HEADER = struct.Struct("<IBIIIH")
_ARTIFICIAL = 0x20
CRC32 = 1
#: number of the error that a primary answers if its binary log is damaged
_FATAL_IN_STREAM = 1236


class Event(NamedTuple):
    """One event as sent, without its checksum.

    :param offset: where it begins in its file; 0 if the server generated it for the stream.
    """

    kind: int
    timestamp_s: int
    server_id: int
    flags: int
    offset: int
    body: bytes


class Numbered(Protocol):
    """A GTID of any flavor."""

    @property
    def place(self) -> tuple[Hashable, int]:
        """Return replication domain or source, and the number there, which identify the transaction in a history."""
        ...


G = TypeVar("G", bound=Numbered)
P = TypeVar("P")


class Start(NamedTuple, Generic[G]):
    """The event that begins a transaction.

    :param committed_s: the Unix time that the primary stamped it with.
    """

    gtid: G
    committed_s: float


@dataclass(frozen=True)
class Group(Generic[G]):
    """A transaction in the binary log.

    :param digest: digest of its events without end position and checksum, which depend on their place.
    """

    gtid: G
    timestamp_s: int
    file: str
    offset: int
    digest: str


def files(conn: Conn) -> list[str]:
    """Return the primary's binary log files, oldest first."""
    return [str(row["Log_name"]) for row in dicts(conn, "SHOW BINARY LOGS")]


@dataclass(frozen=True)
class BinaryLog(Generic[G, P]):
    """How to read the binary logs of one flavor.

    :param announce: statement that announces the reader's capabilities to the server.
    :param classify: converts number and text of a stream error into an error of this package.
    :param start_of: returns the transaction that begins with an event, or None if none does.
    :param ends: kinds of events that end the group before them.
    :param heading: type of the event at a file's beginning that lists what was logged before it.
    :param parse: parses that list as the server shows it.
    :param listed: the position that the event itself lists, or None if the event is another one.
    :param lacking: the transactions of that list that a position does not contain, as text; ``""`` if none.
    :param keeping: the variables that say how long a primary keeps its files.
    """

    connect: Callable[..., Conn]
    announce: str
    classify: Callable[[int, str], RestoreReplayError]
    start_of: Callable[[Event], Start[G] | None]
    ends: frozenset[int]
    heading: str
    parse: Callable[[str], P]
    listed: Callable[[Event], Position | None]
    lacking: Callable[[Position, P], str]
    keeping: str

    def before(self, conn: Conn, file: str) -> P:
        """Return what was logged before *file* begins."""
        found = rows(conn, "SHOW BINLOG EVENTS IN %s LIMIT 4", (file,))
        return self.parse(next((str(row[5]) for row in found if row[2] == self.heading), ""))

    def find(self, primary: Endpoint, file: str, gtid: G) -> Group[G] | None:
        """Scan *file* for the transaction at *gtid*'s place, whichever server wrote it.

        :raises BinlogPurged, SourceCorrupt, PrimaryUnreachable: depending on the error that the primary reports.
        """
        with contextlib.closing(self.events(primary, file)) as found:
            for event in found:
                start = self.start(event)
                if start is not None and start.gtid.place == gtid.place:
                    return self._group(start.gtid, event, found, file)
        return None

    def at(self, primary: Endpoint, file: str, offset: int) -> Group[G] | None:
        """Return the group that begins exactly at *offset*, or None if none does."""
        # A stale hint may point into the middle of an event, which the primary reports as corruption.
        with (
            contextlib.suppress(RestoreReplayError),
            contextlib.closing(self.events(primary, file, offset)) as found,
        ):
            for event in found:
                if event.offset == 0 or event.kind in (FORMAT, _PREVIOUS):
                    continue
                start = self.start(event) if event.offset == offset else None
                return self._group(start.gtid, event, found, file) if start else None
        return None

    def transactions(self, primary: Endpoint, file: str) -> Generator[Start[G], None, None]:
        """Yield the transactions of *file*, in order, up to its present end.

        Only one event at a time is in memory.

        :raises BinlogPurged, SourceCorrupt, PrimaryUnreachable: depending on the error that the primary reports.
        """
        with contextlib.closing(self.events(primary, file)) as found:
            yield from (start for event in found if (start := self.start(event)))

    def events(
        self, primary: Endpoint, file: str, offset: int = _FIRST_OFFSET
    ) -> Generator[Event, None, None]:
        """Yield the events of *file* from *offset*, and stop where the server would continue with the next file."""
        raw: Any = self.connect(primary, read_timeout_s=_READ_TIMEOUT_S)
        try:
            run(raw, self.announce)
            reader_id = READER_SERVER_IDS[raw.thread_id() % len(READER_SERVER_IDS)]
            with self._understood():
                argument = struct.pack("<IHI", offset, _NON_BLOCK, reader_id) + file.encode()
            raw._execute_command(_COM_BINLOG_DUMP, argument)
            packets = iter(raw._read_packet, None)
            decoded = _one_file(packets)
            while True:
                with self._understood():
                    event = next(decoded, None)
                if event is None:
                    return
                yield event
        except pymysql.err.MySQLError as exc:
            number = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
            text = str(exc.args[1]) if len(exc.args) > 1 else str(exc)
            raise self.classify(number, text) from exc
        finally:
            # The caller may not read the stream to its end, so the connection cannot be closed by the protocol.
            raw._force_close()

    def start(self, event: Event) -> Start[G] | None:
        """Return the transaction that begins with *event*, or None if none does.

        :raises SourceCorrupt: the event is none that a primary writes.
        """
        with self._understood():
            return self.start_of(event)

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Classify events that no primary writes as a damaged stream."""
        try:
            yield
        except (struct.error, LookupError, ValueError) as exc:
            text = f"bogus data in log event ({type(exc).__name__}: {exc})"
            raise self.classify(_FATAL_IN_STREAM, text) from exc

    def _group(self, gtid: G, first: Event, rest: Iterator[Event], file: str) -> Group[G]:
        digest = _digest_group(first, rest, self.ends)
        return Group(gtid, first.timestamp_s, file, first.offset, digest)


def _digest_group(first: Event, rest: Iterator[Event], ends: frozenset[int]) -> str:
    """Return a digest of a group's events, without end position and checksum, which depend on their place.

    :param ends: kinds of events that end the group before them.
    """
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
        if following is None or following.kind in ends:
            return digest.hexdigest()
        event = following


def _one_file(packets: Iterator[Any]) -> Iterator[Event]:
    checksum_bytes = reached = 0
    for packet in packets:
        if packet.is_eof_packet():
            return
        data = packet.get_all_data()[1:]
        timestamp, kind, server_id, size, end, flags = HEADER.unpack_from(data)
        if kind == FORMAT:
            # The format event always has an algorithm byte and four bytes of checksum.
            checksum_bytes = 4 if data[-5] == CRC32 else 0
        # Since MariaDB 11.8, end positions are missing in the events of a transaction, too.
        artificial = bool(flags & _ARTIFICIAL) or (end == 0 and kind in (ROTATE, FORMAT))
        if kind == ROTATE and not artificial:
            return
        body = data[HEADER.size : len(data) - (checksum_bytes or (4 if kind == FORMAT else 0))]
        if artificial:
            yield Event(kind, timestamp, server_id, flags, 0, body)
            continue
        begin = end - size if end else reached
        reached = begin + size
        yield Event(kind, timestamp, server_id, flags, begin, body)
