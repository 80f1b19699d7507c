"""Places where records of the archive must be missing, as those that are there show."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import ArchivedLog, Stream
from airflow_restore_replay.core.archive.pieces import damaged
from airflow_restore_replay.core.archive.reach import Routes
from airflow_restore_replay.core.errors import ArchiveFault, LogMissing
from airflow_restore_replay.core.flavor.base import Flavor


def missing(archive: Archive, flavor: Flavor) -> Iterator[ArchiveFault]:
    """Yield an error for each place where pieces, files or the record of a gap must be missing."""
    routes = archive.routes(flavor)
    for stream in archive.streams:
        yield from _beginnings(archive, stream)
        for log in stream.logs:
            yield from _in_file(archive, log, routes)
        for before, log in pairwise(stream.logs):
            yield from _between(archive, before, log, routes)
    yield from _unnoted_gaps(archive, routes)
    yield from _lost_streams(archive)


def _beginnings(archive: Archive, stream: Stream) -> Iterator[ArchiveFault]:
    found = {log.number for log in stream.logs}
    for piece in archive.pieces:
        if piece.stream == stream.id and piece.number not in found:
            found.add(piece.number)
            yield damaged(LogMissing, piece, 0, "its first bytes are missing, and later ones are there", "")


def _in_file(archive: Archive, log: ArchivedLog, routes: Routes) -> Iterator[ArchiveFault]:
    if log.lost_at is not None:
        yield _lost(archive, log, log.lost_at, "bytes from there on are missing, and later ones are there")
    for a, b in pairwise(log.pieces):
        if _differ(routes, a.after, b.before):
            yield _lost(
                archive, log, b.begin, f"a piece ends at {a.after}, and the next begins at {b.before}"
            )


def _between(
    archive: Archive, before: ArchivedLog, log: ArchivedLog, routes: Routes
) -> Iterator[ArchiveFault]:
    if log.number != before.number + 1:
        yield _lost(archive, log, 0, f"between file {before.number} and it, files are missing")
    elif not before.whole and before.lost_at is None:
        yield _lost(archive, before, before.size_bytes, "its end is missing, and the next file is there")
    elif before.whole and _differ(routes, before.after, log.before):
        yield _lost(archive, log, 0, f"it continues {log.before}, and the file before ends at {before.after}")


def _unnoted_gaps(archive: Archive, routes: Routes) -> Iterator[ArchiveFault]:
    """Find streams that continue a position that no earlier stream reaches, without the record of a gap."""
    noted = {(gap.stream, gap.number) for gap in archive.noted_gaps}
    ends = [routes.parse(stream.logs[-1].after) for stream in archive.streams]
    for index, stream in enumerate(archive.streams):
        first = stream.logs[0]
        if not index or first.number > 1 or (first.stream, first.number) in noted:
            continue
        if not any(end.contains(routes.parse(first.before)) for end in ends[:index]):
            yield _lost(archive, first, 0, "no stream reaches the position before it, and no gap is noted")


def _lost_streams(archive: Archive) -> Iterator[ArchiveFault]:
    """Find gaps after which nothing is there."""
    there = {piece.stream for piece in archive.pieces}
    for gap in archive.noted_gaps:
        if gap.stream not in there:
            yield LogMissing(
                f"All files of stream {gap.stream} are missing, which the record of gap {gap.gap_id} names. "
                f"Reachable is all up to position {gap.before or '(empty)'}.",
                evidence={"stream": gap.stream, "gap": gap.gap_id, "reachable": gap.before},
            )


def _differ(routes: Routes, first: str, second: str) -> bool:
    a, b = routes.parse(first), routes.parse(second)
    return not (a.contains(b) and b.contains(a))


def _lost(archive: Archive, log: ArchivedLog, at: int, why: str) -> ArchiveFault:
    return archive.explained(damaged(LogMissing, log.pieces[-1], at, why, ""), log, at)
