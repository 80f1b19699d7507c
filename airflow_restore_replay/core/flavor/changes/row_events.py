"""Row events: which table they are about, and how many rows they have."""

from __future__ import annotations

from typing import NamedTuple

from airflow_restore_replay.core.flavor.binlogstream import HEADER
from airflow_restore_replay.core.flavor.changes import compression
from airflow_restore_replay.core.flavor.changes.rows import (
    BROKEN,
    RowFormat,
    TableMap,
    packed,
)
from airflow_restore_replay.core.flavor.changes.transaction import TableName, Transaction
from airflow_restore_replay.core.flavor.changes.window import Window

TABLE_MAP = 19
#: of an event, before its rows
HEAD_BYTES = 128 * 2**10
_ID_BYTES = 6
_MOST_MAPS = 10_000
#: larger ones are decompressed part by part
_LARGE_BYTES = 4 * 2**20


class _Kind(NamedTuple):
    """A type of row event.

    :param change: 0 inserts, 1 updates, 2 deletes.
    :param extra: data of a variable length may precede the rows.
    :param partial: values of JSON columns may be partial.
    """

    change: int
    extra: bool = False
    compressed: bool = False
    partial: bool = False

    @property
    def images(self) -> int:
        return 2 if self.change == 1 else 1


KINDS = {39: _Kind(1, extra=True, partial=True)}
for _change in range(3):
    KINDS[23 + _change] = _Kind(_change)
    KINDS[30 + _change] = _Kind(_change, extra=True)
    KINDS[166 + _change] = _Kind(_change, compressed=True)
    KINDS[169 + _change] = _Kind(_change, extra=True, compressed=True)


class RowEvents:
    """Counts rows; it knows the tables that the last table map events have named."""

    def __init__(self) -> None:
        self._by_id: dict[bytes, TableMap] = {}
        self._by_body: dict[bytes, TableMap] = {}

    def name_table(self, data: bytes, at: int, end: int) -> None:
        """Take note of a table map event."""
        at += HEADER.size
        body = data[at + _ID_BYTES : end]
        known = self._by_body.get(body)
        if known is None:
            if len(self._by_body) > _MOST_MAPS:
                self._by_body.clear()
                self._by_id.clear()
            known = self._by_body[body] = TableMap(body)
        self._by_id[data[at : at + _ID_BYTES]] = known

    def count(self, data: bytes, at: int, end: int, kind: int, now: Transaction) -> None:
        """Add the rows of an event to a transaction."""
        form = KINDS[kind]
        table, at, rows = self._head(data, at + HEADER.size, form)
        if table is None:
            # Without rows, the event only ends a statement.
            if at < end:
                now.uncounted.add(("", ""))
            return
        try:
            if rows is None:
                now.uncounted.add(table)
            elif form.compressed:
                parts = compression.mariadb(Window([data[at:end]]))
                now.add_rows(table, form.change, rows.count_arriving(Window(parts)))
            else:
                now.add_rows(table, form.change, rows.count(data, at, end))
        except (*BROKEN, *compression.ERRORS):
            now.uncounted.add(table)

    def count_large(self, event: Window, kind: int, now: Transaction) -> None:
        """Add the rows of an event that arrives in parts.

        :param event: of which :data:`HEAD_BYTES` have arrived, if it has as many.
        """
        form = KINDS[kind]
        table, event.at, rows = self._head(event.data, HEADER.size, form)
        if table is None or rows is None:
            now.uncounted.add(table or ("", ""))
            return
        arriving = Window(compression.mariadb(event)) if form.compressed else event
        now.add_rows(table, form.change, rows.count_arriving(arriving))

    def _head(self, data: bytes, at: int, form: _Kind) -> tuple[TableName | None, int, RowFormat | None]:
        """Return the table of an event, where its rows begin, and how they are laid out, if that is known."""
        known = self._by_id.get(data[at : at + _ID_BYTES])
        at += _ID_BYTES + 2
        if form.extra:
            at += data[at] | data[at + 1] << 8
        columns, at = packed(data, at)
        size = (columns + 7) // 8 * form.images
        if known is None:
            return None, at + size, None
        rows = known.row_format(data[at : at + size], images=form.images, partial=form.partial)
        return known.table, at + size, rows
