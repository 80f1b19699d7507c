"""Plan the comparison of one table: its columns as bytes, its key, and the SQL over a key range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.quoting import identifier
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn, Table

Key = tuple[Any, ...]

#: in a column's EXTRA: it is computed when it is read
_VIRTUAL = "VIRTUAL GENERATED"
#: in its place, of columns that number the transactions of a row's history: each server numbers its own
_STARTED, _ENDED = "ROW START", "ROW END"
_NUMBERS = f"generation_expression IN ('{_STARTED}', '{_ENDED}') AND data_type = 'bigint'"
#: the end of a row that is not history
_NO_END = 2**64 - 1

#: Types whose order is the same for a literal as for the column; tables with other keys are compared as one range.
_ORDERED = frozenset(
    (
        *("tinyint", "smallint", "mediumint", "int", "bigint", "decimal"),
        *("char", "varchar", "binary", "varbinary", "date", "datetime", "timestamp"),
    )
)

#: Types whose values may be as long as the server's max_allowed_packet, beyond which CONCAT gives NULL.
_LONG = frozenset(
    (
        *("text", "mediumtext", "longtext", "blob", "mediumblob", "longblob", "json", "vector"),
        *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
        *("geomcollection", "geometrycollection"),
    )
)


@dataclass(frozen=True)
class KeyRange:
    """Rows with ``after`` < key ≤ ``to``; None is unbounded."""

    after: Key | None = None
    to: Key | None = None

    def __str__(self) -> str:
        if self.after is None and self.to is None:
            return "the whole table"
        return f"({_shown(self.after, '-∞')}, {_shown(self.to, '∞')}]"


def _shown(key: Key | None, unbounded: str) -> str:
    return unbounded if key is None else ", ".join(str(v)[:40] for v in key)


@dataclass(frozen=True)
class TablePlan:
    """Plan for the comparison of one table.

    :param key: columns of the primary key (or of a unique key without NULLs); empty if the table has none of usable
        types.
    :param row: SQL of one row's digest in hexadecimal.
    :param history: whether the table is system-versioned, so that its history rows are compared, too.
    """

    table: Table
    key: tuple[str, ...]
    row: str
    history: bool

    @property
    def source(self) -> str:
        name = quoted_name(self.table)
        return f"{name} FOR SYSTEM_TIME ALL" if self.history else name

    def checksum_sql(self, where: str) -> str:
        """Return SQL of the row count and a sum of 64-bit digests; unlike with XOR, equal rows do not cancel out."""
        return (
            f"SELECT COUNT(*), COALESCE(SUM(CAST(CONV(LEFT({self.row}, 16), 16, 10) AS UNSIGNED)), 0) "
            f"FROM {self.source} WHERE {where}"
        )

    def rows_sql(self, where: str) -> str:
        return f"SELECT {self._key_list}, {self.row} FROM {self.source} WHERE {where}"

    def boundary_sql(self, where: str, rows: int) -> str:
        """Return SQL of the key of the last of the next *rows* rows."""
        return (
            f"SELECT {self._key_list} FROM {self.source} WHERE {where} "
            f"ORDER BY {self._key_list} LIMIT 1 OFFSET {rows - 1}"
        )

    def where(self, span: KeyRange) -> tuple[str, list[Any]]:
        """Return the SQL condition for a range, and its parameters."""
        parts, params = ["1=1"], []
        if span.after is not None:
            sql, values = self._beyond(span.after)
            parts.append(sql)
            params += values
        if span.to is not None:
            sql, values = self._beyond(span.to)
            parts.append(f"NOT {sql}")
            params += values
        return " AND ".join(parts), params

    @property
    def _key_list(self) -> str:
        return ", ".join(quote(column) for column in self.key)

    def _beyond(self, key: Key) -> tuple[str, list[Any]]:
        """Return ``(a, b) > (x, y)`` spelled out, because row constructors do not use indexes, and its parameters."""
        alternatives, params = [], []
        for depth in range(len(self.key)):
            equal = [f"{quote(c)} = %s" for c in self.key[:depth]]
            alternatives.append(" AND ".join([*equal, f"{quote(self.key[depth])} > %s"]))
            params += list(key[: depth + 1])
        return f"({' OR '.join(f'({a})' for a in alternatives)})", params


def quote(name: str) -> str:
    """Return the identifier for a statement that is executed with parameters (so % is doubled)."""
    return identifier(name).replace("%", "%%")


def quoted_name(table: Table) -> str:
    """Return schema and name of *table* for a query with parameters."""
    return f"{quote(table.schema)}.{quote(table.name)}"


def columns_of(conn: Conn, table: Table) -> list[tuple[str, str, str, str]]:
    """Return name, type, extra and nullability of each column of a table, in their order."""
    found = rows(
        conn,
        f"SELECT column_name, column_type, IF({_NUMBERS}, generation_expression, extra), is_nullable "
        "FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        (table.schema, table.name),
    )
    return [(str(name), str(kind), str(extra).upper(), str(null)) for name, kind, extra, null in found]


def other_columns(theirs: Sequence[Sequence[str]], ours: Sequence[Sequence[str]]) -> str:
    """Return which columns only one side has, or computes; ``""`` if the rows of both have the same columns."""
    there, here = ({c[0]: _VIRTUAL in c[2] for c in side} for side in (theirs, ours))
    both = there.keys() & here.keys()
    return "; ".join(
        f"columns {what}: {', '.join(sorted(names))}"
        for what, names in (
            ("only on the primary", there.keys() - both),
            ("only on the node", here.keys() - both),
            ("virtual on one side", {name for name in both if there[name] != here[name]}),
        )
        if names
    )


def plan_table(
    flavor: Flavor, conn: Conn, table: Table, columns: Sequence[tuple[str, str, str, str]]
) -> TablePlan:
    """Plan the comparison by the table's definition on *conn* (the node, which has the definition of the position).

    :param columns: of the table there, as :func:`columns_of` returns them.
    """
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT index_name, column_name, sub_part FROM information_schema.statistics WHERE table_schema = %s "
            "AND table_name = %s AND non_unique = 0 ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index",
            (table.schema, table.name),
        )
        indexes = cursor.fetchall()
        cursor.execute(
            "SELECT table_type FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            (table.schema, table.name),
        )
        kind = cursor.fetchone()
    cells = [
        f"{quote(name)} = {_NO_END}" if extra == _ENDED else _cell(flavor, name, kind)
        for name, kind, extra, _ in columns
        if _VIRTUAL not in extra and extra != _STARTED
    ]
    return TablePlan(
        table=table,
        key=_usable_key(columns, indexes),
        row=flavor.row_digest(f"CONCAT_WS('|', {', '.join(cells)})"),
        history=bool(kind) and str(kind[0]).upper() == "SYSTEM VERSIONED",
    )


def _cell(flavor: Flavor, name: str, column_type: str) -> str:
    """Return SQL of a value with its length in front, so that bytes cannot move between neighbours unnoticed.

    NULL differs from every value. A long value is replaced by its digest, which has a constant length, because the row
    as a whole must stay below max_allowed_packet.
    """
    text = flavor.canonical_text(column_type, identifier(name)).replace("%", "%%")
    if _base(column_type) in _LONG:
        return f"IFNULL({flavor.row_digest(text)}, 'N')"
    return f"IFNULL(CONCAT(LENGTH({text}), ':', {text}), 'N')"


def _base(column_type: str) -> str:
    return column_type.split("(")[0].split()[0].lower()


def _usable_key(columns: Sequence[Sequence[Any]], indexes: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    usable = {
        str(name)
        for name, column_type, extra, nullable in columns
        if nullable == "NO" and extra not in (_STARTED, _ENDED) and _base(str(column_type)) in _ORDERED
    }
    candidates: dict[str, list[tuple[str, Any]]] = {}
    for index, column, prefix in indexes:
        candidates.setdefault(str(index), []).append((str(column), prefix))
    for parts in candidates.values():
        if all(prefix is None and column in usable for column, prefix in parts):
            return tuple(column for column, _ in parts)
    return ()
