"""Retention of the archive: the window needs backups and files; what it does not need, pruning deletes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.same_bytes import SameBytes
from airflow_restore_replay.core.archive.window import Span, span_of
from airflow_restore_replay.core.config.archiving import Archiving
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Position
from airflow_restore_replay.core.repository.catalog import Backup
from airflow_restore_replay.core.repository.format.records import LogGap, LogPiece, Manifest
from airflow_restore_replay.core.repository.objects.record_store import record_path
from airflow_restore_replay.core.repository.pruning.logs import (
    MAX_DELETED,
    DoomedLog,
    LogPlan,
    ReadRules,
    parts_of,
)
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo

#: kinds of reasons to delete a record
SUPERSEDED, IDLE, EXPIRED = "superseded", "idle", "before the window"


def log_rules(cluster: Cluster) -> ReadRules:
    """Return what reads the rules of *cluster* for its archive."""

    def read(repository: Repository, now: datetime, limit: datetime) -> LogRetention:
        # Listed first: a record that is written meanwhile is not old enough to be deleted.
        listed = [*repository.store.list("logpieces/"), *repository.store.list("loggaps/")]
        archive = Archive.read(repository, everything=True)
        return LogRetention(archive, listed, cluster.archive, get_flavor(cluster.flavor), now, limit)

    return read


class LogRetention:
    """The rules over an archive that was read; see :class:`~...pruning.logs.LogRules`.

    :param listed: the records' objects.
    :param limit: a record that the store got later is not deleted.
    """

    def __init__(
        self,
        archive: Archive,
        listed: Iterable[ObjectInfo],
        policy: Archiving,
        flavor: Flavor,
        now: datetime,
        limit: datetime,
    ) -> None:
        self._archive = archive
        self._infos = {info.path: info for info in listed}
        self._keep_s = policy.keep
        self._begin = now - timedelta(seconds=policy.keep or 0)
        self._limit = limit
        self._routes = archive.routes(flavor)
        self._covers: dict[str, LogPiece] = {}

    @property
    def withheld(self) -> str:
        unreadable = self._archive.unreadable
        if not unreadable:
            return ""
        path, why = next(iter(unreadable.items()))
        return f"{len(unreadable)} records of the archive are not readable, first {path}: {why}"

    def needed(self, backups: Sequence[Backup]) -> Mapping[str, str]:
        """See :meth:`~...pruning.logs.LogRules.needed`."""
        if self._keep_s is None:
            return {}
        spans = [span for b in backups if (span := span_of(b, self._routes)).end > span.begin]
        reason = f"the window of {human_seconds(self._keep_s)} needs it"
        return {span.backups[0]: reason for span in _cover(spans, self._begin)}

    def plan(self, bases: Iterable[Manifest]) -> LogPlan:
        """See :meth:`~...pruning.logs.LogRules.plan`."""
        positions = [self._routes.parse(m.position) for m in bases]
        doomed: dict[str, DoomedLog] = {}
        for record, why, reason in [*self._expired(positions), *self._superseded(), *self._idle()]:
            path = _path(record)
            info = self._infos.get(path)
            if info and info.modified < self._limit and len(doomed) < MAX_DELETED:
                doomed.setdefault(path, DoomedLog(info, reason, why))
        kept = [piece for piece in self._archive.pieces if _path(piece) not in doomed]
        gaps = len(self._archive.noted_gaps)
        total = len(self._archive.pieces) + gaps
        return LogPlan(total - len(doomed), tuple(doomed.values()), parts_of(kept))

    def confirmed(self, doomed: Sequence[DoomedLog]) -> tuple[list[DoomedLog], dict[str, str]]:
        """See :meth:`~...pruning.logs.LogRules.confirmed`.

        A piece is deleted only if the longer one has the same bytes, read back from the store: a record alone, which
        a writer without the right to delete could add, displaces none.
        """
        same = SameBytes(self._archive.store)
        pieces = {_path(piece): piece for piece in self._archive.pieces}
        sure: list[DoomedLog] = []
        unsure: dict[str, str] = {}
        for each in sorted(doomed, key=lambda d: self._place(pieces.get(d.info.path))):
            cover = self._covers.get(each.info.path) if each.why == SUPERSEDED else None
            try:
                why = same.complaint(pieces[each.info.path], cover) if cover else ""
            except RestoreReplayError as exc:
                why = exc.message
            if why:
                unsure[each.info.path] = why
            else:
                sure.append(each)
        return sure, unsure

    def _superseded(self) -> Iterator[tuple[LogPiece, str, str]]:
        """Find pieces that lie within one piece that takes their place."""
        logs = {(s.id, log.number): log for s in self._archive.streams for log in s.logs}
        for piece in self._archive.pieces:
            log = logs.get((piece.stream, piece.number))
            if log is None or piece.begin == piece.end or piece in log.pieces:
                continue
            cover = next((c for c in log.pieces if c.begin <= piece.begin and piece.end <= c.end), None)
            info = self._infos.get(_path(cover)) if cover else None
            if cover and info and info.modified < self._limit:
                self._covers[_path(piece)] = cover
                yield piece, SUPERSEDED, f"{cover.piece_id} has the same bytes"

    def _idle(self) -> Iterator[tuple[LogPiece, str, str]]:
        """Find pieces that say only that nothing was new, except the newest of each stream."""
        idle = sorted((p for p in self._archive.pieces if p.begin == p.end), key=lambda p: (p.at, p.piece_id))
        newest = {piece.stream: piece for piece in idle}
        for piece in idle:
            if piece is not newest[piece.stream]:
                yield piece, IDLE, "a later piece says the same"

    def _expired(self, positions: Sequence[Position]) -> Iterator[tuple[LogPiece | LogGap, str, str]]:
        """Find files of which every backup that the window needs has all, and gaps before all of these backups."""
        if self._keep_s is None or not positions:
            return
        reason = f"it is older than {human_seconds(self._keep_s)}, and the backups that the window needs have all of it"

        def past(text: str) -> bool:
            return all(position.contains(self._routes.parse(text)) for position in positions)

        for stream in self._archive.streams:
            for log in stream.logs:
                pieces = self._archive.pieces_of(log)
                # The archiver continues the last file.
                last = stream is self._archive.streams[-1] and log is stream.logs[-1]
                contained = all(past(p.after) for p in pieces if p.end > p.begin)
                if contained and not last and all(self._old(p) for p in pieces):
                    yield from ((piece, EXPIRED, reason) for piece in pieces)
        for gap in self._archive.noted_gaps:
            if past(gap.after) and self._old(gap):
                yield gap, EXPIRED, reason

    def _old(self, record: LogPiece | LogGap) -> bool:
        """Return whether the store got *record* before the window begins, by its own clock."""
        info = self._infos.get(_path(record))
        return info is not None and info.modified < self._begin

    @staticmethod
    def _place(piece: LogPiece | None) -> tuple[str, int, int]:
        return (piece.stream, piece.number, piece.begin) if piece else ("", 0, 0)


def _path(record: LogPiece | LogGap) -> str:
    record_id = record.piece_id if isinstance(record, LogPiece) else record.gap_id
    return record_path(type(record), record_id)


def _cover(spans: Sequence[Span], begin: datetime) -> Iterator[Span]:
    """Choose as few spans as possible that have all moments since *begin* that any of them has."""
    at = begin - timedelta.resolution
    while True:
        usable = [span for span in spans if span.begin <= at < span.end]
        later = [span for span in spans if span.begin > at]
        if usable:
            # Of those that lead equally far, the newest needs the fewest logs.
            best = max(usable, key=lambda s: (s.end, s.begin, s.backups))
        elif later:
            best = min(later, key=lambda s: (s.begin, at - s.end, s.backups))
        else:
            return
        yield best
        at = best.end
