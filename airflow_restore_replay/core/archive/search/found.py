"""Answers to a question about the archive."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from airflow_restore_replay.core.flavor.changes.transaction import TableName
from airflow_restore_replay.core.flavor.quoting import joined

#: names that are compared with a misspelled one
_MOST_NAMES = 20_000
_NEAREST = 3


@dataclass(frozen=True)
class Rows:
    """How many rows of a table were changed.

    :param exact: False if there are more that could not be counted.
    """

    table: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    exact: bool = True


@dataclass(frozen=True)
class Found:
    """A transaction that answers the question.

    :param gtid: empty if the primary logged none.
    :param at: when the primary committed it, by its clock.
    :param log: name of the file on the primary.
    :param offset: of the transaction in the archived file.
    :param defines: it changes definitions.
    :param statements: logged statements, in which strings are hidden; at most a few.
    :param more_statements: number of others.
    :param accounts: ``user@host``, where the log has it.
    :param schemas: default schemas of the sessions, which names without a schema are in.
    :param connections: ids of the sessions on the primary.
    :param state: ``prepared`` (XA, not decided in the archive), ``rolled back``, ``incomplete`` (its end is not
        archived), or empty.
    :param prepared_gtid: the transaction that prepared it, if it is the commit of an XA transaction.
    """

    gtid: str
    at: datetime
    stream: str
    log: str
    offset: int
    size_bytes: int
    defines: bool
    rows: list[Rows]
    statements: list[str]
    more_statements: int = 0
    accounts: list[str] = field(default_factory=list)
    schemas: list[str] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    state: str = ""
    prepared_gtid: str = ""

    @property
    def row_count(self) -> int:
        return sum(rows.inserted + rows.updated + rows.deleted for rows in self.rows)


class Timed(Protocol):
    """A transaction, which may say when it was committed."""

    @property
    def committed_s(self) -> float: ...


@dataclass
class Total:
    """All changes of rows of a table in the period.

    :param last: the transaction that changed it last.
    """

    table: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    transactions: int = 0
    last: Timed | None = None

    @property
    def last_at(self) -> datetime | None:
        return datetime.fromtimestamp(self.last.committed_s, UTC) if self.last else None

    @property
    def row_count(self) -> int:
        return self.inserted + self.updated + self.deleted

    def as_dict(self) -> dict[str, object]:
        """Return the total for ``--json``."""
        names = ("table", "inserted", "updated", "deleted", "transactions", "last_at")
        return {name: getattr(self, name) for name in names}


@dataclass
class Answer:
    """What was found.

    :param found: in the order of the logs.
    :param left_out: number of transactions that answer the question, too, and touch fewer rows.
    :param totals: by table, most rows first.
    :param transactions: number of transactions that were read.
    :param damaged: what could not be read, as text.
    """

    found: list[Found] = field(default_factory=list)
    left_out: int = 0
    totals: list[Total] = field(default_factory=list)
    transactions: int = 0
    read_bytes: int = 0
    damaged: list[str] = field(default_factory=list)


class Names:
    """Tables that were seen."""

    def __init__(self) -> None:
        self._seen: set[TableName] = set()

    def add(self, table: TableName) -> None:
        if table[1] and len(self._seen) < _MOST_NAMES:
            self._seen.add(table)

    def nearest(self, wanted: str, is_wanted: Callable[[TableName], bool]) -> list[str]:
        """Return the names that are most like *wanted*; none if there are tables of that name.

        :param is_wanted: whether a table has that name.
        """
        if any(map(is_wanted, self._seen)):
            return []
        known = {joined(*table).casefold(): joined(*table) for table in sorted(self._seen)}
        return [known[name] for name in difflib.get_close_matches(wanted.casefold(), known, n=_NEAREST)]
