"""Put the transactions of a binary log together from its events.

Events of both flavors have different numbers, or the same meaning. Of row events, nothing but the number of rows is
kept. One part of the file is in memory at a time, however large an event is.

Source: MySQL source documentation, "Binary log event structure"; MariaDB documentation, "1-Binlog Events".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterable

from airflow_restore_replay.core.flavor.binlogstream import CRC32, FORMAT, HEADER, ROTATE, STOP
from airflow_restore_replay.core.flavor.changes import compression, queries, row_events
from airflow_restore_replay.core.flavor.changes.rows import BROKEN
from airflow_restore_replay.core.flavor.changes.transaction import KEPT_STATEMENTS, Transaction
from airflow_restore_replay.core.flavor.changes.window import Window
from airflow_restore_replay.core.flavor.log_file import (
    ENCRYPTION,
    MAGIC,
    MAX_EVENT_BYTES,
    LogDamaged,
    refuse_ciphertext,
)

_QUERY, _XID, _LOAD_QUERY, _ROWS_QUERY, _XA_PREPARE, _PAYLOAD = 2, 16, 18, 29, 38, 40
_ANNOTATE, _QUERY_COMPRESSED, _MARIADB_GTID = 160, 165, 162
#: events that begin a transaction
_GTIDS = (33, 34, 42, _MARIADB_GTID)
#: flag of MariaDB's GTID event: the transaction is one query event
_STANDALONE = 1

#: larger events are not put into memory
_LARGE_BYTES = 4 * 2**20
_KEPT_NOTE_BYTES = 4096
_SLICE_BYTES = 2**20
_XA_PREPARED = struct.Struct("<BiII")


class Reader:
    """Reads one file, from its beginning or from a transaction's.

    :param begin: offset where reading begins.
    :param checksum_bytes: of each event, if reading does not begin with the file's format event.
    """

    def __init__(self, *, begin: int = 0, checksum_bytes: int = 0) -> None:
        self._begin = begin
        self._cut = checksum_bytes
        self._current: Transaction | None = None
        self._done: list[Transaction] = []
        self._row_events = row_events.RowEvents()
        #: offset in the file of the beginning of the bytes at hand
        self._base = begin
        self._handlers: dict[int, Callable[[bytes, int, int, int], None]] = {
            **dict.fromkeys(_GTIDS, self._gtid),
            **dict.fromkeys(row_events.KINDS, self._rows),
            **dict.fromkeys((ROTATE, STOP), self._between),
            **dict.fromkeys((_QUERY, _QUERY_COMPRESSED, _LOAD_QUERY), self._query),
            **dict.fromkeys((_ANNOTATE, _ROWS_QUERY), self._note),
            FORMAT: self._format,
            ENCRYPTION: self._encrypted,
            _XID: self._xid,
            row_events.TABLE_MAP: self._table_map,
            _XA_PREPARE: self._xa_prepare,
            _PAYLOAD: self._payload,
        }

    def transactions(self, parts: Iterable[bytes]) -> Generator[Transaction, None, None]:
        """Yield the transactions; the last one may be incomplete, if the file is.

        :param parts: the file's bytes.
        :raises LogDamaged: they are no binary log.
        """
        window = Window(_slices(parts))
        if not self._begin and window.has(len(MAGIC)):
            magic = window.take(len(MAGIC))
            if magic != MAGIC:
                raise LogDamaged(f"it begins with {magic.hex()}, not with {MAGIC.hex()}")
        while self._advance(window, self._begin):
            yield from self._done
            self._done.clear()
        self._finish(self._begin + window.dropped + window.at)
        yield from self._done

    def _advance(self, window: Window, origin: int) -> bool:
        """Read the events that are at hand, and one more if that is large; return whether more may follow.

        :param origin: offset in the file of the window's first byte.
        """
        if not window.has(HEADER.size):
            return False
        self._base = origin + window.dropped
        size = self._read_at_hand(window)
        return self._read_large(window, size) if size > _LARGE_BYTES else window.has(size)

    def _read_at_hand(self, window: Window) -> int:
        """Read the events that are at hand as a whole.

        :returns: how much of what follows must be at hand to read on.
        """
        data, at, limit = window.data, window.at, len(window.data)
        unpack, handlers, header = HEADER.unpack_from, self._handlers, HEADER.size
        kind, size = 0, header
        try:
            while limit - at >= header:
                _, kind, _, size, _, _ = unpack(data, at)
                if not header <= size <= MAX_EVENT_BYTES:
                    raise LogDamaged(f"the event at {self._base + at} claims {size} bytes")
                if size > limit - at:
                    break
                handler = handlers.get(kind)
                if handler is not None:
                    handler(data, at, at + size - self._cut, kind)
                at += size
            else:
                size = header
        except (*BROKEN, *compression.ERRORS) as exc:
            raise _undecoded(kind, self._base + at, exc) from exc
        window.at = at
        return size

    def _read_large(self, window: Window, size: int) -> bool:
        """Read an event part by part; return whether it is whole."""
        kind = window.data[window.at + 4]
        self._base = offset = self._base + window.at
        event = Window(window.pass_on(size - self._cut))
        try:
            event.has(row_events.HEAD_BYTES)
            if kind in row_events.KINDS and self._current:
                self._row_events.count_large(event, kind, self._current)
            elif kind == _PAYLOAD:
                event.skip(HEADER.size)
                self._read_inner(event)
            elif handler := self._handlers.get(kind):
                handler(event.data, 0, len(event.data), kind)
            for _ in event.rest():
                pass
            window.skip(self._cut)
        except (*BROKEN, *compression.ERRORS) as exc:
            if window.has(1):
                raise _undecoded(kind, offset, exc) from exc
            if self._current:
                self._current.whole = False
            return False
        return True

    def _finish(self, end: int) -> None:
        if self._current is not None:
            self._current.end = end
            self._done.append(self._current)
            self._current = None

    def _gtid(self, data: bytes, at: int, end: int, kind: int) -> None:
        self._finish(self._base + at)
        timestamp_s, _, server_id, _, _, flags = HEADER.unpack_from(data, at)
        body = data[at + HEADER.size : end]
        first = (kind, timestamp_s, server_id, flags, self._base + at, body)
        standalone = kind != _MARIADB_GTID or bool(body[12] & _STANDALONE)
        self._current = Transaction(first, standalone=standalone)

    def _between(self, data: bytes, at: int, end: int, kind: int) -> None:
        self._finish(self._base + at)

    def _format(self, data: bytes, at: int, end: int, kind: int) -> None:
        # Always with an algorithm byte and four bytes of checksum.
        self._finish(self._base + at)
        self._cut = 4 if data[end + self._cut - 5] == CRC32 else 0

    def _encrypted(self, data: bytes, at: int, end: int, kind: int) -> None:
        following = end + self._cut
        if len(data) >= following + HEADER.size:
            refuse_ciphertext(data[following : following + HEADER.size], self._base + following)

    def _xid(self, data: bytes, at: int, end: int, kind: int) -> None:
        if self._current:
            self._current.whole = True

    def _query(self, data: bytes, at: int, end: int, kind: int) -> None:
        now = self._current
        if now is None:
            return
        at += HEADER.size
        further = queries.LOAD_POST_BYTES if kind == _LOAD_QUERY else 0
        begin = queries.text_begins_at(data, at, further_bytes=further)
        if begin > end:
            raise ValueError(f"its text begins {begin - end} bytes after its end")
        text = data[begin : min(end, begin + queries.KEPT_BYTES)]
        if kind == _QUERY_COMPRESSED:
            text = next(compression.mariadb(Window([data[begin:end]])), b"")
        if text == b"BEGIN":
            now.standalone = False
        elif text == b"COMMIT":
            now.whole = True
        elif not self._is_control(now, text):
            now.add_statement(queries.decode(data[at:begin], text, further_bytes=further))
            now.whole = now.whole or now.standalone

    def _is_control(self, now: Transaction, text: bytes) -> bool:
        """Take note of a statement that begins or ends a transaction, or a part of one; else return False."""
        word = text[:10].upper()
        if word.startswith(b"ROLLBACK"):
            now.rolled_back = True
            now.whole = now.whole or len(text) == len(b"ROLLBACK")
        elif word.startswith(b"XA COMMIT") or word == b"XA ROLLBAC":
            now.decides = text.split(maxsplit=2)[2].decode("ascii", "replace")
            now.rolled_back, now.whole = word == b"XA ROLLBAC", True
        elif word.startswith(b"XA START"):
            now.standalone = False
        elif not word.startswith((b"SAVEPOINT ", b"XA END", b"XA PREPARE")):
            return False
        return True

    def _xa_prepare(self, data: bytes, at: int, end: int, kind: int) -> None:
        if self._current is None:
            return
        at += HEADER.size
        one_phase, form, first, second = _XA_PREPARED.unpack_from(data, at)
        at += _XA_PREPARED.size
        self._current.whole = True
        if not one_phase:
            parts = data[at : at + first], data[at + first : at + first + second]
            self._current.prepared = f"X'{parts[0].hex()}',X'{parts[1].hex()}',{form}"

    def _note(self, data: bytes, at: int, end: int, kind: int) -> None:
        if self._current and len(self._current.notes) < KEPT_STATEMENTS:
            begin = at + HEADER.size + (kind == _ROWS_QUERY)
            self._current.notes.append(data[begin : min(end, begin + _KEPT_NOTE_BYTES)])

    def _table_map(self, data: bytes, at: int, end: int, kind: int) -> None:
        self._row_events.name_table(data, at, end)

    def _rows(self, data: bytes, at: int, end: int, kind: int) -> None:
        if self._current:
            self._row_events.count(data, at, end, kind, self._current)

    def _payload(self, data: bytes, at: int, end: int, kind: int) -> None:
        self._read_inner(Window([data[at + HEADER.size : end]]))

    def _read_inner(self, event: Window) -> None:
        """Read the events of a transaction that MySQL compressed; they have no checksums."""
        outer = self._base, self._cut
        self._cut = 0
        inner = Window(compression.payload(event))
        while self._advance(inner, outer[0]):
            pass
        if inner.has(1):
            raise ValueError("its last event is incomplete")
        self._base, self._cut = outer


def _slices(parts: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Yield the same bytes in smaller parts: as many transactions are in memory as begin in one."""
    for part in parts:
        for at in range(0, len(part), _SLICE_BYTES):
            yield part[at : at + _SLICE_BYTES]


def _undecoded(kind: int, offset: int, exc: Exception) -> LogDamaged:
    return LogDamaged(f"the event at {offset}, of type {kind}, does not decode: {type(exc).__name__}: {exc}")
