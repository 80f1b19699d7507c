"""The archive of a cluster, as a reader sees it: streams of binary log files, their content, gaps and the window."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_restore_replay.core.archive.logs import ArchivedLog, Stream, streams_of
from airflow_restore_replay.core.archive.pieces import PieceStore, damaged
from airflow_restore_replay.core.archive.places import FileKey
from airflow_restore_replay.core.archive.reach import Reach, Routes, newest
from airflow_restore_replay.core.archive.window import Window, window_of
from airflow_restore_replay.core.errors import ArchiveFault, LogCorrupt, RestoreReplayError
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.binlogstream import CRC32, FORMAT
from airflow_restore_replay.core.flavor.log_file import LogDamaged, LogEvent, log_events, servable
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Position
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import LogGap, LogPart, LogPiece
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo
from airflow_restore_replay.core.system.files import fsync_directory
from airflow_restore_replay.core.times import stamp

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES = 2**20


@dataclass(frozen=True)
class Archive:
    """The archive at one moment; create it with :meth:`read`.

    :param pieces: pieces, unsorted.
    :param streams: oldest first.
    :param noted_gaps: all gaps that the archiver noticed, oldest first; :meth:`open_gaps` are those still open.
    :param unreadable: name of a record → what is wrong with it.
    :param left_out: file → records of pieces whose place longer ones have taken; they are read if they are needed.
    """

    store: PieceStore
    pieces: tuple[LogPiece, ...] = ()
    streams: tuple[Stream, ...] = ()
    noted_gaps: tuple[LogGap, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[FileKey, Sequence[ObjectInfo]] = field(default_factory=dict)

    @classmethod
    def read(cls, repository: Repository, *, everything: bool = False) -> Archive:
        """Read the records of the archive, and no log.

        :param everything: also pieces whose place longer ones have taken, which verification and pruning look at.
        """
        store = PieceStore(repository)
        found = store.read(everything=everything)
        gaps = tuple(sorted(found.gaps, key=lambda gap: (gap.at, gap.gap_id)))
        return cls(store, found.pieces, streams_of(found.pieces), gaps, found.unreadable, found.left_out)

    def routes(self, flavor: Flavor) -> Routes:
        """Return what finds the files that continue a position."""
        return Routes(self.streams, self.pieces, flavor)

    def reach(self, position: Position, flavor: Flavor) -> Reach:
        """Return how far the archive leads from *position*."""
        return self.routes(flavor).from_position(position)

    def open_gaps(self, flavor: Flavor) -> tuple[LogGap, ...]:
        """Return the gaps that no other files of the archive lead across.

        Nothing leads across a primary's rewind: the GTIDs after it may be those of other transactions before it.
        """
        routes = self.routes(flavor)

        def closed(gap: LogGap) -> bool:
            before, after = routes.parse(gap.before), routes.parse(gap.after)
            return after.contains(before) and routes.from_position(before).position.contains(after)

        return tuple(gap for gap in self.noted_gaps if not closed(gap))

    def gaps_after(self, catalog: Catalog, flavor: Flavor) -> tuple[LogGap, ...]:
        """Return the open gaps that matter: those after the position of a healthy backup, or all if there is none.

        A rewind matters as long as no backup is from after it.
        """
        healthy = catalog.healthy()
        positions = [flavor.parse_position(b.manifest.position) for b in healthy]

        def matters(gap: LogGap) -> bool:
            before, after = flavor.parse_position(gap.before), flavor.parse_position(gap.after)
            if not after.contains(before):
                return all(backup.manifest.created_at < gap.at for backup in healthy)
            return not positions or any(not position.contains(after) for position in positions)

        return tuple(gap for gap in self.open_gaps(flavor) if matters(gap))

    def window(self, catalog: Catalog, flavor: Flavor) -> Window:
        """Return the moments that can be restored from healthy proven backups."""
        backups = [b for b in catalog.healthy() if b.manifest.flavor == flavor.name]
        return window_of(backups, self.routes(flavor), newest(self.pieces))

    def content(self, log: ArchivedLog, begin: int = 0) -> Iterator[bytes]:
        """Yield the verified bytes of a file; one part at a time is in memory.

        Where a part is damaged, another piece of the file that has the same bytes takes its place.

        :param begin: offset to begin at.
        :raises LogMissing, LogCorrupt: bytes are missing or corrupt; the message names the file, the offset, and the
            last position and time that are reachable.
        :raises KeyMissing: the key of a piece is not available.
        """
        at = begin
        try:
            for data in self._bytes(log, begin, log.size_bytes):
                yield data
                at += len(data)
        except ArchiveFault as exc:
            raise self.explained(exc, log, at) from exc

    def events(self, log: ArchivedLog, begin: int = 0) -> Generator[LogEvent, None, None]:
        """Yield the events of a file; one part at a time is in memory.

        :param begin: offset of an event, for example the beginning of a piece.
        :raises LogMissing, LogCorrupt, KeyMissing: see :meth:`content`.
        """
        end = begin
        try:
            for event in self._events(log, begin, log.size_bytes):
                yield event
                end = event.end
            if end < log.size_bytes:
                raise LogDamaged(f"the event there ends after the file, at {log.size_bytes}")
        except LogDamaged as exc:
            raise self.explained(_not_a_log(log, end, str(exc)), log, end) from exc
        except ArchiveFault as exc:
            raise self.explained(exc, log, exc.evidence.get("offset", end)) from exc

    def write_log(
        self, log: ArchivedLog, path: Path, progress: Callable[[int], None] = lambda size_bytes: None
    ) -> None:
        """Write a file, complete or not at all.

        :param progress: called with the bytes of each part as it is written.
        :raises LogMissing, LogCorrupt, KeyMissing: see :meth:`content`.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream:
                for data in self.content(log):
                    stream.write(data if stream.tell() else servable(data))
                    progress(len(data))
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)

    def pieces_of(self, log: ArchivedLog) -> tuple[LogPiece, ...]:
        """Return all pieces of a file, also those whose place a longer one has taken."""
        file = (log.stream, log.number)
        if file in self.left_out and file not in self._complete:
            more, _ = self.store.pieces(self.left_out[file])
            self._complete.add(file)
            self._of_file.setdefault(file, []).extend(more.values())
        return tuple(self._of_file.get(file, ()))

    def explained(self, fault: ArchiveFault, log: ArchivedLog, at: int) -> ArchiveFault:
        """Add to *fault* the position and the time before which nothing is lost."""
        position, last_at = self._reachable(log, at)
        until = f", of which the last transaction is stamped {stamp(last_at)}" if last_at else ""
        return type(fault)(
            f"{fault.args[0]} Reachable is all up to position {position or '(empty)'}{until}.",
            evidence=fault.evidence
            | {"reachable": str(position), "reachable_at": stamp(last_at) if last_at else None},
        )

    @cached_property
    def _complete(self) -> set[FileKey]:
        return set()

    def log_of(self, piece: LogPiece) -> ArchivedLog | None:
        """Return the file that *piece* belongs to; None if its beginning is missing."""
        return next(
            (
                log
                for stream in self.streams
                for log in stream.logs
                if (log.stream, log.number) == (piece.stream, piece.number)
            ),
            None,
        )

    @cached_property
    def _of_file(self) -> dict[FileKey, list[LogPiece]]:
        found: dict[FileKey, list[LogPiece]] = {}
        for piece in self.pieces:
            found.setdefault((piece.stream, piece.number), []).append(piece)
        return found

    def _at(self, log: ArchivedLog, at: int) -> bytes:
        """Return the bytes from *at* to the end of a part that has them."""
        fault: ArchiveFault | None = None
        for piece, part, begin in self._parts_at(log, at):
            try:
                return self.store.part(piece, part, begin)[at - begin : log.size_bytes - begin]
            except ArchiveFault as exc:
                fault = fault or exc
        raise fault or _not_a_log(log, at, "no piece has the bytes from there on")

    def _parts_at(self, log: ArchivedLog, at: int) -> Iterator[tuple[LogPiece, LogPart, int]]:
        """Yield the parts that have the byte *at*, with their offsets; those of the chosen pieces first."""
        tried = set()
        # Records that were left out are not read before they are needed.
        others = (piece for _ in (None,) for piece in self.pieces_of(log))
        for piece in itertools.chain(log.pieces, others):
            begin = piece.begin
            if not begin <= at < piece.end:
                continue
            for part in piece.parts:
                if begin <= at < begin + part.size_bytes and part.object not in tried:
                    tried.add(part.object)
                    yield piece, part, begin
                begin += part.size_bytes

    def _checksum_bytes(self, log: ArchivedLog) -> int:
        """Return how long the checksum of each event is, as the first event, the format, states it."""
        with contextlib.closing(log_events(_opened(self._bytes(log, 0, log.size_bytes)))) as events:
            first = next(events, None)
        return 4 if first and first.event.kind == FORMAT and first.event.body[-1] == CRC32 else 0

    def _reachable(self, log: ArchivedLog, at: int) -> tuple[Position, datetime | None]:
        """Return the position after the last whole transaction before the offset *at*, and that one's stamp."""
        flavor = get_flavor(log.pieces[0].flavor)
        known = [p for p in self.pieces_of(log) if p.end <= at]
        last = max(known, key=lambda p: p.end, default=None)
        position: Any = flavor.parse_position(last.after if last else log.before)
        last_at = max((p.last_at for p in known if p.last_at), default=None)
        # The last transaction that begins there may end after that place.
        starts: list[Any] = []
        with contextlib.suppress(RestoreReplayError, LogDamaged):
            for found in self._events(log, last.end if last else 0, at):
                if start := flavor.log.start(found.event):
                    starts.append(start)
        done = starts[:-1]
        stamps = [datetime.fromtimestamp(start.committed_s, UTC) for start in done]
        return position.extended(start.gtid for start in done), max(
            [*stamps, *filter(None, [last_at])], default=None
        )

    def _events(self, log: ArchivedLog, begin: int, end: int) -> Iterator[LogEvent]:
        checksum_bytes = self._checksum_bytes(log) if begin else 0
        return log_events(_opened(self._bytes(log, begin, end)), begin=begin, checksum_bytes=checksum_bytes)

    def _bytes(self, log: ArchivedLog, begin: int, end: int) -> Iterator[bytes]:
        at = begin
        while at < end:
            data = self._at(log, at)[: end - at]
            yield data
            at += len(data)


def _not_a_log(log: ArchivedLog, at: int, why: str) -> LogCorrupt:
    return damaged(LogCorrupt, log.pieces[-1], at, why, "")


def _opened(parts: Iterator[bytes]) -> BinaryIO:
    return io.BufferedReader(_Content(parts), _BUFFER_BYTES)


class _Content(io.RawIOBase):
    """Bytes that arrive in parts, as a file."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer)
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._left = memoryview(part)
        count = min(len(room), len(self._left))
        room[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
