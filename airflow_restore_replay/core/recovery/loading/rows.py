"""Copy the rows of one table over two connections of our own, each value as the bytes that the server stores."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pymysql.cursors import SSCursor

from airflow_restore_replay.core.errors import JobCancelled
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.carry.raw import return_bytes
from airflow_restore_replay.core.flavor.filenames import TableName
from airflow_restore_replay.core.flavor.quoting import identifier, qualified
from airflow_restore_replay.core.flavor.session import COMPUTING
from airflow_restore_replay.core.flavor.sql import rows, run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint

_MOST_ROWS = 2000
_MOST_BYTES = 2**20
#: types whose values are bytes to the server; all others are numbers or text in ASCII, or text in UTF-8
_BYTES = frozenset(
    (
        *("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"),
        *("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "vector"),
        *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
        *("geomcollection", "geometrycollection"),
    )
)
_STRICT = "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str

    @property
    def selected(self) -> str:
        # The server shows six digits of a FLOAT, and all of a DOUBLE.
        return f"{identifier(self.name)} * 1e0" if self.kind == "float" else identifier(self.name)


def copy_rows(
    flavor: Flavor,
    source: Endpoint,
    there: Conn,
    table: TableName,
    into: TableName,
    *,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> None:
    """Copy all rows of *table* on *source* to the empty table *into* on *there*.

    :param progress: called with the rows copied, and the server's estimate of their number.
    :raises JobCancelled: *cancelled* returned True.
    :raises MySQLError: the server refuses a value; none is changed to fit.
    """
    room = min(_MOST_BYTES, int(value(there, "SELECT @@GLOBAL.max_allowed_packet")) // 4)
    with contextlib.closing(flavor.connect(source)) as copy:
        columns = _columns(copy, table)
        total = _estimate(copy, table)
        cast("Any", copy).decoders = {}
        return_bytes(copy)
        run(
            there,
            f"SET SESSION sql_mode = '{_STRICT}', foreign_key_checks = 0, unique_checks = 0, {COMPUTING}",
        )
        names = ", ".join(identifier(column.name) for column in columns)
        insert = f"INSERT INTO {qualified(into.schema, into.name)} ({names}) VALUES "
        done = 0
        with contextlib.closing(copy.cursor(SSCursor)) as cursor:
            cursor.execute(
                f"SELECT {', '.join(c.selected for c in columns)} FROM {qualified(table.schema, table.name)}"
            )
            for batch, number in _batches(cursor, columns, there, room):
                if cancelled():
                    raise JobCancelled("The restore was cancelled.")
                run(there, insert + batch)
                done += number
                progress(done, max(total, done))


def _columns(copy: Conn, table: TableName) -> list[_Column]:
    """Return the columns that have values of their own, in their order."""
    found = rows(
        copy,
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        " AND COALESCE(GENERATION_EXPRESSION, '') = '' ORDER BY ORDINAL_POSITION",
        (table.schema, table.name),
    )
    return [_Column(str(name), str(kind).lower()) for name, kind in found]


def _estimate(copy: Conn, table: TableName) -> int:
    query = "SELECT COALESCE(TABLE_ROWS, 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    return int(rows(copy, query, (table.schema, table.name))[0][0])


def _batches(cursor: Any, columns: Sequence[_Column], there: Conn, room: int) -> Iterator[tuple[str, int]]:
    """Yield rows as lists of values for an INSERT, and how many they are."""
    escape = cast("Any", there).escape
    as_bytes = [column.kind in _BYTES for column in columns]
    batch: list[str] = []
    size = 0
    for row in cursor:
        text = (
            "("
            + ",".join(
                "NULL" if cell is None else f"_binary{escape(cell)}" if raw else escape(cell.decode())
                for cell, raw in zip(row, as_bytes, strict=True)
            )
            + ")"
        )
        if batch and (len(batch) >= _MOST_ROWS or size + len(text) > room):
            yield ",".join(batch), len(batch)
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield ",".join(batch), len(batch)
