"""Reading a primary's binary log as a replica does: the dump protocol, raw events.

Only headers are decoded here; what an event says is each flavor's.

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
from airflow_restore_replay.core.flavor.values import Conn

#: where the first event of a file begins
FIRST_OFFSET = 4
READ_TIMEOUT_S = 300
STOP, ROTATE, FORMAT = 3, 4, 15

_COM_BINLOG_DUMP = 0x12
# NON_BLOCK: the server ends the stream at its end instead of waiting for more.
_NON_BLOCK = 1
_HEADER = struct.Struct("<IBIIIH")
_ARTIFICIAL = 0x20
_CRC32 = 1
# No server has this id; a dump thread of the same id would end another's.
_READER_IDS = (3_999_000_000, 900_000)


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


def events(
    conn: Conn,
    file: str,
    offset: int,
    *,
    announce: str,
    classify: Callable[[int, str], RestoreReplayError],
) -> Generator[Event, None, None]:
    """:param conn: a connection for this alone; it is closed.
    :param announce: statement that tells the server what its reader understands.
    :param classify: what an error of the stream means.
    :returns: the events of *file* only, though the server would go on with the next file.
    """
    raw: Any = conn
    try:
        run(conn, announce)
        first, count = _READER_IDS
        reader_id = first + raw.thread_id() % count
        argument = struct.pack("<IHI", offset, _NON_BLOCK, reader_id) + file.encode()
        raw._execute_command(_COM_BINLOG_DUMP, argument)
        yield from _one_file(raw)
    except pymysql.err.MySQLError as exc:
        number = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
        text = str(exc.args[1]) if len(exc.args) > 1 else str(exc)
        raise classify(number, text) from exc
    finally:
        # The stream may not be read to its end, so there is no orderly goodbye.
        raw._force_close()


def digest_group(first: Event, rest: Iterator[Event], ends: frozenset[int]) -> str:
    """:param ends: kinds of events that end the group before them.
    :returns: digest over a group's events without what depends on their place: end position and checksum.
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
