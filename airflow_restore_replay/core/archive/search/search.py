"""Answer a question by reading the archived binary logs once, in their order."""

from __future__ import annotations

import bisect
import contextlib
import heapq
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.search.found import Answer, Found, Names, Rows, Total
from airflow_restore_replay.core.archive.search.question import Question
from airflow_restore_replay.core.archive.search.reading import moment, range_of, transactions
from airflow_restore_replay.core.errors import ArchiveFault
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.binlogstream import Start
from airflow_restore_replay.core.flavor.changes.charsets import decoded
from airflow_restore_replay.core.flavor.changes.queries import Statement
from airflow_restore_replay.core.flavor.changes.statements import Parsed
from airflow_restore_replay.core.flavor.changes.transaction import Transaction
from airflow_restore_replay.core.flavor.log_file import LogDamaged
from airflow_restore_replay.core.flavor.quoting import joined

_LONGEST_STATEMENT = 2000
_MOST_STATEMENTS = 5
_MOST_PREPARED = 10_000


class _Logged:
    """A transaction in its file; its GTID and its time are decoded when they are asked for.

    :param changes: the transaction with its changes: another one, if it only decides about a prepared one.
    """

    def __init__(self, flavor: Flavor, log: ArchivedLog, transaction: Transaction) -> None:
        self._flavor = flavor
        self.log = log
        self.transaction = self.changes = transaction
        self.state = "" if transaction.whole else "incomplete"
        self.prepared: _Logged | None = None
        self.wanted: list[Statement] = []

    @cached_property
    def _start(self) -> Start[Any] | None:
        return self._flavor.log.start_of(self.transaction.first)

    @property
    def gtid(self) -> Any:
        return self._start.gtid if self._start else None

    @property
    def committed_s(self) -> float:
        return self._start.committed_s if self._start else float(self.transaction.first.timestamp_s)

    @property
    def undone(self) -> bool:
        """Return whether it rolls a prepared transaction back."""
        return bool(self.transaction.decides) and self.transaction.rolled_back


class Search:
    """One search.

    :param most: the answer has at most so many transactions: those that change definitions, then those of most rows.
    """

    def __init__(self, archive: Archive, flavor: Flavor, question: Question, *, most: int) -> None:
        self._archive = archive
        self._flavor = flavor
        self._question = question
        self._most = most
        self._answer = Answer()
        #: place in the order of the logs; of the answer, the least important is first
        self._kept: list[tuple[bool, int, int, _Logged]] = []
        self._order = 0
        self._totals: dict[tuple[str, str], Total] = {}
        self._prepared: dict[str, _Logged] = {}
        self._seen = _Seen() if len(archive.streams) > 1 else None
        self.names = Names()

    @property
    def size_bytes(self) -> int:
        """Return how many bytes are to be read."""
        return sum(end - begin for _, begin, end in self._ranges())

    def run(self, progress: Callable[[int], None] = lambda size_bytes: None) -> Answer:
        """Read, and return the answer.

        :param progress: called with the number of bytes of each part that was read.
        """

        def note(size_bytes: int) -> None:
            self._answer.read_bytes += size_bytes
            progress(size_bytes)

        for log, begin, end in self._ranges():
            while begin < end:
                begin = self._read(log, begin, end, note)
        if self._question.gtid:
            for *_, logged in self._kept:
                self._find_prepared(logged)
        else:
            for left in self._prepared.values():
                left.state = "prepared"
                self._consider(left)
        return self._finished()

    def _find_prepared(self, logged: _Logged) -> None:
        """Find the transaction that a commit decides about, which may have been logged long before."""
        wanted = logged.transaction.decides
        if not wanted or logged.prepared:
            return
        streams = (stream for stream in self._archive.streams if stream.id == logged.log.stream)
        logs = [log for stream in streams for log in stream.logs if log.number <= logged.log.number]
        for log in reversed(logs):
            end = logged.transaction.begin if log.number == logged.log.number else log.size_bytes
            found = None
            with contextlib.suppress(ArchiveFault, LogDamaged):
                for each in transactions(self._archive, log, 0, end, lambda size_bytes: None):
                    found = each if each.prepared == wanted else found
            if found:
                logged.prepared, logged.changes = _Logged(self._flavor, log, found), found
                return

    def _ranges(self) -> Iterator[tuple[ArchivedLog, int, int]]:
        for stream in self._archive.streams:
            for log in stream.logs:
                begin, end = range_of(log, self._question, self._flavor)
                if end > begin:
                    yield log, begin, end

    def _read(self, log: ArchivedLog, begin: int, end: int, note: Callable[[int], None]) -> int:
        """Read up to the end of the range, or up to damage; return where to continue."""
        reached = begin
        try:
            for found in transactions(self._archive, log, begin, end, note):
                reached = found.begin
                self._take(found, log)
        except (ArchiveFault, LogDamaged) as exc:
            self._answer.damaged.append(f"{log.name}, file {log.number} of stream {log.stream}: {exc}")
            damaged_at = exc.evidence.get("offset", reached) if isinstance(exc, ArchiveFault) else reached
            reached = max(reached, damaged_at)
            return min((piece.begin for piece in log.pieces if piece.begin > reached), default=end)
        if log.lost_at is not None:
            self._answer.damaged.append(
                f"{log.name}, file {log.number} of stream {log.stream}: bytes from {log.lost_at} on are missing"
            )
        return end

    def _finished(self) -> Answer:
        kept = sorted(self._kept, key=lambda kept: kept[2])
        self._answer.found = [_described(logged) for *_, logged in kept]
        totals = sorted(self._totals.values(), key=lambda total: (-total.row_count, total.table))
        self._answer.totals = totals
        return self._answer

    def _take(self, found: Transaction, log: ArchivedLog) -> None:
        logged = _Logged(self._flavor, log, found)
        if self._seen and logged.gtid and not self._seen.add(logged.gtid):
            return  # another server's log has it, too
        self._answer.transactions += 1
        if found.prepared:
            if len(self._prepared) < _MOST_PREPARED:
                self._prepared[found.prepared] = logged
            if not self._question.gtid:
                return
            logged.state = "prepared"
        if found.decides and (prepared := self._prepared.pop(found.decides, None)):
            logged.prepared, logged.changes = prepared, prepared.transaction
        self._consider(logged)

    def _consider(self, logged: _Logged) -> None:
        question, changes = self._question, logged.changes
        if question.has_times and not question.has_time(logged.committed_s):
            return
        if not logged.undone and logged.state != "prepared":
            self._add_up(logged)
        logged.wanted = [each for each in changes.statements if question.wants_statement(each)]
        if question.gtid:
            chosen = str(logged.gtid) == question.gtid
        else:
            chosen = not logged.undone and (bool(logged.wanted) or self._wants_rows(changes))
        if chosen:
            self._keep(logged)

    def _wants_rows(self, changes: Transaction) -> bool:
        if self._question.wants_rows(changes.rows.items()):
            return True
        wanted = self._question.tables and not self._question.statements
        return bool(wanted) and any(map(self._question.has_table, changes.uncounted))

    def _add_up(self, logged: _Logged) -> None:
        for table, (inserted, updated, deleted) in logged.changes.rows.items():
            total = self._totals.get(table)
            if total is None:
                self.names.add(table)
                total = self._totals[table] = Total(joined(*table))
            total.inserted += inserted
            total.updated += updated
            total.deleted += deleted
            total.transactions += 1
            total.last = logged
        for statement in logged.changes.statements[:_MOST_STATEMENTS]:
            parsed = Parsed(statement)
            if parsed.defines and "TABLE" in parsed.words[:4]:
                for name in parsed.certain_names:
                    self.names.add(name)

    def _keep(self, logged: _Logged) -> None:
        self._order += 1
        defines = any(Parsed(each).defines for each in logged.wanted)
        kept = (defines, logged.changes.row_count, self._order, logged)
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, kept)
        else:
            heapq.heappushpop(self._kept, kept)
            self._answer.left_out += 1


def _described(logged: _Logged) -> Found:
    changes = logged.changes
    parsed = [Parsed(each) for each in logged.wanted or changes.statements]
    notes = [decoded(note, 0) for note in changes.notes] if not parsed else []
    shown = parsed + [Parsed(Statement(note)) for note in notes]
    return Found(
        gtid=str(logged.gtid) if logged.gtid else "",
        at=moment(logged.committed_s),
        stream=logged.log.stream,
        log=logged.log.name,
        offset=logged.transaction.begin,
        size_bytes=changes.size_bytes,
        defines=any(each.defines for each in parsed),
        rows=_rows(changes),
        statements=[each.shown(_LONGEST_STATEMENT) for each in shown[:_MOST_STATEMENTS]],
        more_statements=max(len(shown) - _MOST_STATEMENTS, 0) + changes.left_out,
        accounts=sorted({each.statement.account for each in parsed} - {""}),
        schemas=sorted({each.statement.schema for each in parsed} - {""}),
        connections=sorted({each.statement.connection for each in parsed} - {0}),
        state=logged.state or ("rolled back" if logged.transaction.rolled_back else ""),
        prepared_gtid=str(logged.prepared.gtid) if logged.prepared else "",
    )


def _rows(changes: Transaction) -> list[Rows]:
    found = []
    for table in dict.fromkeys([*changes.rows, *sorted(changes.uncounted)]):
        inserted, updated, deleted = changes.rows.get(table, (0, 0, 0))
        found.append(Rows(joined(*table), inserted, updated, deleted, table not in changes.uncounted))
    return found


class _Seen:
    """GTIDs that were read, as intervals: servers of a failover log some transactions twice."""

    def __init__(self) -> None:
        self._intervals: dict[tuple[Any, ...], list[list[int]]] = {}

    def add(self, gtid: Any) -> bool:
        """Add a GTID; return False if it is there already."""
        source, number = gtid.place
        # In a domain of MariaDB, two servers may give the same number to different transactions.
        intervals = self._intervals.setdefault((source, getattr(gtid, "server_id", 0)), [])
        index = bisect.bisect_right(intervals, [number, 2**64])
        if index and intervals[index - 1][1] >= number:
            return False
        if index and intervals[index - 1][1] == number - 1:
            intervals[index - 1][1] = number
            if index < len(intervals) and intervals[index][0] == number + 1:
                intervals[index - 1][1] = intervals.pop(index)[1]
        elif index < len(intervals) and intervals[index][0] == number + 1:
            intervals[index][0] = number
        else:
            intervals.insert(index, [number, number])
        return True
