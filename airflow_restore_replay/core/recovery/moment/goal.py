"""Find a moment in the archived binary logs: the transactions that a replay from a backup executes up to there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.reach import Leg, Routes
from airflow_restore_replay.core.errors import HistoryDiverged, PreflightFailed
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.binlog_cut import cut_at_gtid, cut_at_time
from airflow_restore_replay.core.flavor.values import Cut, Position
from airflow_restore_replay.core.recovery.moment.route import furthest, route
from airflow_restore_replay.core.repository.format.records import LogPiece, Manifest
from airflow_restore_replay.core.times import stamp


def refuse_other_history(archive: Archive, flavor: Flavor, manifest: Manifest, legs: Sequence[Leg]) -> None:
    """Raise unless the last transactions of a backup are the same in the files that continue it.

    A server that was rewound assigns the same GTIDs again. Transactions that no archived file has are not compared.

    :raises HistoryDiverged: another transaction has that GTID or its number.
    """
    known: Any = flavor
    streams = {leg.stream for leg in legs}
    for chain in manifest.chains:
        gtid = known.parse_gtid(chain.gtid)
        for log, begin in _files_with(archive, known, gtid, streams):
            for event in archive.events(log, begin):
                start = known.log.start(event.event)
                if start is None or start.gtid.place != gtid.place:
                    continue
                if start.gtid != gtid or event.event.timestamp_s != chain.timestamp_s:
                    raise HistoryDiverged(
                        f"Backup {manifest.backup_id} has {gtid} of {_time(chain.timestamp_s)}; the archived binary "
                        f"log {log.name} has {start.gtid} of {_time(event.event.timestamp_s)} in its place.",
                        hint="The primary was reset or restored; only later backups lead to later moments.",
                    )
                break


def _files_with(
    archive: Archive, flavor: Any, gtid: Any, streams: Collection[str]
) -> Iterator[tuple[ArchivedLog, int]]:
    """Yield the files of *streams* that have a transaction, and the offset of the piece that it begins in."""
    for stream in archive.streams:
        for log in stream.logs if stream.id in streams else ():
            for piece in log.pieces:
                before, after = (flavor.parse_position(text) for text in (piece.before, piece.after))
                if after.has(gtid) and not before.has(gtid):
                    yield log, piece.begin


def _time(seconds: int) -> str:
    return stamp(datetime.fromtimestamp(seconds, UTC))


class Timeline:
    """All that the archive can replay from a position, in its order.

    Only the pieces from the first one that may have the moment are read.

    :param start: position of a backup.
    """

    def __init__(self, archive: Archive, routes: Routes, flavor: Flavor, start: Position) -> None:
        self._archive = archive
        self._routes = routes
        # Positions and GTIDs of one flavor; their types are known there only.
        self._flavor: Any = flavor
        self._start: Any = start
        self._legs = furthest(start, routes.runs, routes.parse)

    @property
    def legs(self) -> tuple[Leg, ...]:
        return self._legs

    def end(self) -> Cut | None:
        """Return the end of the newest file; None if something before it is missing, for that is not all."""
        runs = self._routes.runs
        end = self._legs[-1].after if self._legs else self._start
        newest = runs[-1].logs[-1] if runs else None
        whole = newest is None or (newest.lost_at is None and end.contains(self._routes.parse(newest.after)))
        return Cut(end) if whole else None

    def at(self, moment: datetime, now: datetime) -> Cut | None:
        """Return the place before the first transaction stamped at or after *moment*.

        :param now: the primary's clock, as far as it is known.
        :returns: None if there is no later transaction, and it is not known that there was none.
        :raises PreflightFailed: the backup itself has such a transaction.
        """
        passed, rest = self._from_first(
            self._legs, lambda piece: piece.last_at is not None and piece.last_at >= moment
        )
        cut: Cut = cut_at_time(moment, self._start, self._transactions(self._legs, rest), now, passed=passed)
        known_until = self._known_until(cut.position)
        return cut if cut.next_gtid or (known_until is not None and known_until >= moment) else None

    def gtid(self, gtid: Any, *, including: bool) -> Cut | None:
        """Return the place before or after a transaction; None if it is not there, or the backup has it.

        :raises PreflightFailed: another transaction has its number.
        """
        if self._start.has(gtid):
            return None
        other: PreflightFailed | None = None
        for legs in self._ways_to(gtid):
            passed, rest = self._from_first(legs, lambda piece: self._parsed(piece.after).has(gtid))
            try:
                found: Cut | None = cut_at_gtid(
                    gtid, self._start, self._transactions(legs, rest), including=including, passed=passed
                )
            except PreflightFailed as exc:
                other = exc
                continue
            if found is not None:
                return found
        if other:
            raise other
        return None

    def _ways_to(self, gtid: Any) -> Iterator[tuple[Leg, ...]]:
        """Yield the way to the newest file, then those to other streams: a failover may have lost the transaction."""
        yield self._legs
        for run in reversed(self._routes.runs):
            after: Any = self._parsed(run.logs[-1].after)
            if after.has(gtid):
                legs = route(self._start, self._start.union(after), [run], self._routes.parse)
                legs = legs or route(
                    self._start, self._start.union(after), self._routes.runs, self._routes.parse
                )
                if legs and legs != self._legs:
                    yield legs

    def _parsed(self, text: str) -> Any:
        return self._routes.parse(text)

    def _known_until(self, position: Position) -> datetime | None:
        """Return until when all that was logged is in *position*, if it has all of a stream."""
        ends = (run.until for run in self._routes.runs if position.contains(self._parsed(run.logs[-1].after)))
        return max((at for at in ends if at), default=None)

    def _from_first(
        self, legs: Sequence[Leg], wanted: Callable[[LogPiece], bool]
    ) -> tuple[Any, list[tuple[Leg, ArchivedLog, int]]]:
        """Return the position before the first piece that is wanted, and the files from there on.

        :returns: the position, and leg, file and offset of each.
        """
        position = self._start
        files = [(leg, log) for leg in legs for log in leg.logs]
        for number, (leg, log) in enumerate(files):
            passed = [position]
            for index, piece in enumerate(log.pieces):
                if wanted(piece):
                    index = self._clean(log, index)
                    rest = [(leg, log, log.pieces[index].begin), *((*f, 0) for f in files[number + 1 :])]
                    return passed[index], rest
                position = position.union(leg.after.common(self._parsed(piece.after)))
                passed.append(position)
        return position, []

    def _clean(self, log: ArchivedLog, index: int) -> int:
        """Return the last piece up to *index* that does not begin within a transaction, as those of a large one may."""
        while index:
            with contextlib.closing(self._archive.events(log, log.pieces[index].begin)) as events:
                first = next(events, None)
            if first is None or self._flavor.log.start(first.event) is not None:
                break
            index -= 1
        return index

    def _transactions(
        self, legs: Sequence[Leg], files: Sequence[tuple[Leg, ArchivedLog, int]]
    ) -> Iterator[Any]:
        """Yield the transactions that a replay executes, in its order, and those that the backup has.

        A transaction that an earlier leg has is not executed again, and what a failover lost is not executed at all.
        """
        ends: list[Any] = [leg.after for leg in legs]
        for leg, log, begin in files:
            number = list(legs).index(leg)
            for event in self._archive.events(log, begin):
                found = self._flavor.log.start(event.event)
                if found is None or not ends[number].has(found.gtid):
                    continue
                if not number or not ends[number - 1].has(found.gtid):
                    yield found
