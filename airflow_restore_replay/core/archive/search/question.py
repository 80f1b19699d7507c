"""What a person looks for in the archived binary logs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from airflow_restore_replay.core.flavor.changes.queries import Statement
from airflow_restore_replay.core.flavor.changes.statements import Parsed
from airflow_restore_replay.core.flavor.changes.transaction import TableName
from airflow_restore_replay.core.flavor.quoting import parted

#: words of ``--statement`` that rows answer, too
_CHANGES = {"INSERT": 0, "UPDATE": 1, "DELETE": 2}
_FIRST_WORD = re.compile(r"\s*([A-Za-z]+)")


@dataclass(frozen=True)
class Question:
    """Which transactions are wanted; without tables, statements and a GTID, those that change definitions.

    :param tables: patterns ``schema.table`` with ``%`` for any characters; letters' case does not count.
    :param statements: first words of statements, such as ``drop table``; any of them.
    :param gtid: of one transaction.
    :param since: Unix seconds; earlier transactions are not wanted.
    :param until: Unix seconds; later transactions are not wanted, nor those stamped with it.
    :param least_rows: transactions of fewer rows are not wanted, unless they change definitions.
    """

    tables: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    gtid: str = ""
    since: float | None = None
    until: float | None = None
    least_rows: int = 0

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], re.Pattern[str]]]:
        return [(_pattern(schema), _pattern(name)) for schema, name in map(parted, self.tables)]

    @cached_property
    def _matched(self) -> dict[TableName, bool]:
        return {}

    def has_table(self, table: TableName) -> bool:
        """Return whether *table* is wanted; of all tables of a schema, the name is empty."""
        if not self.tables:
            return True
        known = self._matched.get(table)
        if known is None:
            schema, name = table
            known = any(s.fullmatch(schema) and (not name or n.fullmatch(name)) for s, n in self._patterns)
            self._matched[table] = known
        return known

    @property
    def has_times(self) -> bool:
        """Return whether the time counts."""
        return self.since is not None or self.until is not None

    def has_time(self, committed_s: float) -> bool:
        return (self.since is None or committed_s >= self.since) and (
            self.until is None or committed_s < self.until
        )

    def wants_statement(self, statement: Statement) -> bool:
        """Return whether *statement* is wanted for what it says."""
        if not (self.statements or self.tables) and _verb(statement) in _CHANGES:
            return False
        parsed = Parsed(statement)
        if self.tables and not any(map(self.has_table, parsed.names)):
            return False
        if self.statements:
            return any(parsed.is_a(words) for words in self.statements)
        return parsed.defines or bool(self.tables)

    def wants_rows(self, rows: Iterable[tuple[TableName, list[int]]]) -> bool:
        """Return whether a transaction that changes these rows is wanted for them."""
        changes = [_CHANGES[word] for each in self.statements if (word := each.strip().upper()) in _CHANGES]
        if not self.tables and not changes:
            return False
        touched = [counts for table, counts in rows if self.has_table(table)]
        if self.statements and not any(counts[index] for counts in touched for index in changes):
            return False
        return bool(touched) and sum(map(sum, touched)) >= self.least_rows


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("%"))), re.IGNORECASE | re.DOTALL)


def _verb(statement: Statement) -> str:
    found = _FIRST_WORD.match(statement.text)
    return found[1].upper() if found else ""
