"""A transaction of a binary log, as far as it says what changed."""

from __future__ import annotations

from typing import TypeAlias

from airflow_restore_replay.core.flavor.binlogstream import Event
from airflow_restore_replay.core.flavor.changes.queries import Statement

#: schema and name
TableName: TypeAlias = "tuple[str, str]"
#: of a transaction, more statements are only counted
KEPT_STATEMENTS = 100


class Transaction:
    """What one transaction changed; the reader fills it.

    :param first: fields of the event that begins it; most transactions need no object for it.

    :ivar begin: offset of its first event in the file.
    :ivar end: offset after its last event.
    :ivar rows: table → how many rows were inserted, updated and deleted.
    :ivar uncounted: tables of which some rows could not be counted.
    :ivar statements: logged statements, without those that begin or end a transaction; at most ``KEPT_STATEMENTS``.
    :ivar left_out: number of further statements.
    :ivar notes: texts of statements whose changes were logged as rows; as the session sent them, cut.
    :ivar whole: its last event was read.
    :ivar rolled_back: it, or a part of it, ends with ROLLBACK: changes of transactional tables were not kept.
    :ivar prepared: its XA id, if it was only prepared.
    :ivar decides: the XA id of the prepared transaction that it commits or rolls back.
    """

    __slots__ = (
        "begin",
        "decides",
        "end",
        "_first",
        "left_out",
        "notes",
        "prepared",
        "rolled_back",
        "rows",
        "standalone",
        "statements",
        "uncounted",
        "whole",
    )

    def __init__(self, first: tuple[int, int, int, int, int, bytes], *, standalone: bool) -> None:
        self._first = first
        self.begin = self.end = first[4]
        #: the next query event is all of it
        self.standalone = standalone
        self.rows: dict[TableName, list[int]] = {}
        self.uncounted: set[TableName] = set()
        self.statements: list[Statement] = []
        self.notes: list[bytes] = []
        self.left_out = 0
        self.whole = False
        self.rolled_back = False
        self.prepared = ""
        self.decides = ""

    @property
    def first(self) -> Event:
        """Return the event that begins it, which has its GTID and its time."""
        return Event(*self._first)

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin

    @property
    def row_count(self) -> int:
        return sum(map(sum, self.rows.values()))

    def add_rows(self, table: TableName, kind: int, count: int) -> None:
        """Add rows.

        :param kind: 0 inserted, 1 updated, 2 deleted.
        """
        counts = self.rows.get(table)
        if counts is None:
            counts = self.rows[table] = [0, 0, 0]
        counts[kind] += count

    def add_statement(self, statement: Statement) -> None:
        if len(self.statements) < KEPT_STATEMENTS:
            self.statements.append(statement)
        else:
            self.left_out += 1
