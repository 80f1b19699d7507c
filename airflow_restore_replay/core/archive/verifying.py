"""Verification of the archive: read every part back, and look for what is missing between pieces, files and streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.missing import missing
from airflow_restore_replay.core.errors import ArchiveFault
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.repository.format.records import LogGap, LogPart, LogPiece
from airflow_restore_replay.core.repository.objects.record_store import record_path
from airflow_restore_replay.core.repository.rate_limit import (
    ProgressFn,
    RateLimit,
    never_cancelled,
    no_progress,
)
from airflow_restore_replay.core.system.parallel import run_bounded


@dataclass
class ArchiveReport:
    """Result of a verification of the archive.

    :param pieces: number of records.
    :param parts, size_bytes: number and uncompressed bytes of the parts that were read.
    :param bad: what is damaged or missing; each message names the file, the offset and what is reachable.
    :param unreadable: name of a damaged record → error.
    :param gaps: gaps that the archiver noticed and that are open; they are no damage.
    """

    pieces: int = 0
    parts: int = 0
    size_bytes: int = 0
    bad: list[Failure] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    gaps: list[LogGap] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Return whether no damage was found."""
        return not (self.bad or self.unreadable)


@dataclass(frozen=True)
class _Place:
    """A part and where it is in its file."""

    piece: LogPiece
    part: LogPart
    at: int


def verify_archive(
    archive: Archive,
    flavor: Flavor,
    *,
    selected: Callable[[str], bool] = lambda folder: True,
    threads: int = 4,
    rate_limit: RateLimit | None = None,
    progress: ProgressFn = no_progress,
    cancelled: Callable[[], bool] = never_cancelled,
) -> ArchiveReport:
    """Read all parts past all caches, and hash them; write nothing.

    :param selected: returns whether parts are read whose id ends with these two digits.
    """
    report = ArchiveReport(len(archive.pieces), unreadable=dict(archive.unreadable))
    limit = rate_limit or RateLimit(None)
    places = {
        place.part.object: place
        for piece in archive.pieces
        for place in _places(piece)
        if selected(place.part.object[-2:])
    }
    total_bytes = sum(place.part.size_bytes for place in places.values())

    def check(place: _Place) -> ArchiveFault | None:
        limit.take(place.part.size_bytes)
        # Bytes may have been damaged in transfer, so damage counts only if it recurs.
        return _fault(archive, place) and _fault(archive, place)

    with closing(
        run_bounded(places.values(), check, threads=min(threads, 4), cancelled=cancelled)
    ) as results:
        for place, fault in results:
            report.parts += 1
            report.size_bytes += place.part.size_bytes
            if fault and (told := _told(archive, place, fault)):
                report.bad.append(Failure.of(told))
            progress(report.size_bytes, total_bytes)
    report.bad += [Failure.of(fault) for fault in missing(archive, flavor)]
    report.gaps = list(archive.open_gaps(flavor))
    return report


def _places(piece: LogPiece) -> Iterator[_Place]:
    at = piece.begin
    for part in piece.parts:
        yield _Place(piece, part, at)
        at += part.size_bytes


def _fault(archive: Archive, place: _Place) -> ArchiveFault | None:
    try:
        archive.store.part(place.piece, place.part, place.at, uncached=True)
    except ArchiveFault as exc:
        return exc
    return None


def _told(archive: Archive, place: _Place, fault: ArchiveFault) -> ArchiveFault | None:
    """Add to *fault* what is reachable; return None if the piece was pruned meanwhile."""
    store = archive.store.repository.store
    if store.size(record_path(LogPiece, place.piece.piece_id)) is None:
        return None
    log = archive.log_of(place.piece) or ArchivedLog((place.piece,))
    told = archive.explained(fault, log, place.at)
    if _elsewhere(archive, log, place):
        told.message += " Other pieces have the same bytes, so that all of it can still be read."
    return told


def _elsewhere(archive: Archive, log: ArchivedLog, place: _Place) -> bool:
    """Return whether the bytes of a damaged part can be read from other parts."""
    try:
        end = place.at + place.part.size_bytes
        at = place.at
        for data in archive.content(log, at):
            at += len(data)
            if at >= end:
                return True
    except ArchiveFault:
        return False
    return False
