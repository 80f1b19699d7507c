"""Read a primary's binary log as a replica does: the dump protocol and raw events.

Only headers are decoded here; each flavor decodes the bodies of its events.

Source: MySQL manual and MariaDB documentation, "Replication Protocol", "COM_BINLOG_DUMP".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pymysql
from blake3 import blake3

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.sql import run
from airflow_restore_replay.core.flavor.values import READER_SERVER_IDS, Conn

#: offset of the first event in a file
FIRST_OFFSET = 4
READ_TIMEOUT_S = 300
STOP, ROTATE, FORMAT = 3, 4, 15

_COM_BINLOG_DUMP = 0x12
# NON_BLOCK: the server ends the stream at the end of the log instead of waiting for more events.
_NON_BLOCK = 1
_HEADER = struct.Struct("<IBIIIH")
_ARTIFICIAL = 0x20
_CRC32 = 1


@dataclass(frozen=True)
class Event:
    """One event as sent, without its checksum.

    :param offset: where it begins in its file; 0 if the server generated it for the stream.
    """

    kind: int
    timestamp_s: int
    server_id: int
    flags: int
    offset: int
    body: bytes


def events(
    conn: Conn,
    file: str,
    offset: int,
    *,
    announce: str,
    classify: Callable[[int, str], RestoreReplayError],
) -> Generator[Event, None, None]:
    """Yield the events of *file*, and stop where the server would continue with the next file.

    :param conn: a connection for this purpose only; it is closed.
    :param announce: statement that announces the reader's capabilities to the server.
    :param classify: converts number and text of a stream error into an error of this package.
    """
    raw: Any = conn
    try:
        run(conn, announce)
        reader_id = READER_SERVER_IDS[raw.thread_id() % len(READER_SERVER_IDS)]
        argument = struct.pack("<IHI", offset, _NON_BLOCK, reader_id) + file.encode()
        raw._execute_command(_COM_BINLOG_DUMP, argument)
        yield from _one_file(raw)
    except pymysql.err.MySQLError as exc:
        number = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
        text = str(exc.args[1]) if len(exc.args) > 1 else str(exc)
        raise classify(number, text) from exc
    finally:
        # The caller may not read the stream to its end, so the connection cannot be closed by the protocol.
        raw._force_close()


def digest_group(first: Event, rest: Iterator[Event], ends: frozenset[int]) -> str:
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


def _one_file(conn: Any) -> Iterator[Event]:
    checksum_bytes = 0
    while True:
        packet = conn._read_packet()
        if packet.is_eof_packet():
            return
        data = packet.get_all_data()[1:]
        timestamp, kind, server_id, size, end, flags = _HEADER.unpack_from(data)
        if kind == FORMAT:
            # The format event always has an algorithm byte and four bytes of checksum.
            checksum_bytes = 4 if data[-5] == _CRC32 else 0
        artificial = end == 0 or bool(flags & _ARTIFICIAL)
        if kind == ROTATE and not artificial:
            return
        body = data[_HEADER.size : len(data) - (checksum_bytes or (4 if kind == FORMAT else 0))]
        yield Event(kind, timestamp, server_id, flags, 0 if artificial else end - size, body)
