"""Restore the files of a backup into a directory; every byte is checked against the name of its content."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_restore_replay.core.errors import BackupFault
from airflow_restore_replay.core.repository.format.entries import check_entries
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import (
    ChunkRef,
    PageDelta,
    Piece,
    chunk_bytes,
    content_name,
    key_of,
    leaves,
)
from airflow_restore_replay.core.repository.objects.bundles import BundleReader, ranges_of
from airflow_restore_replay.core.repository.objects.chunks import ChunkStore, is_zero
from airflow_restore_replay.core.repository.rate_limit import (
    ProgressFn,
    RateLimit,
    never_cancelled,
    no_progress,
)
from airflow_restore_replay.core.repository.transfer.older_state import OlderState
from airflow_restore_replay.core.repository.transfer.pageindex import PageIndex
from airflow_restore_replay.core.repository.transfer.restored_state import RestoredState
from airflow_restore_replay.core.repository.transfer.target import Target, write_all
from airflow_restore_replay.core.repository.transfer.unchanged_files import settled_stats
from airflow_restore_replay.core.system.beneath import Beneath
from airflow_restore_replay.core.system.parallel import batched, run_bounded

_BATCH_BYTES = 4 * 2**20
_BATCH_CHUNKS = 256


@dataclass
class RestoreResult:
    """Result of a restore.

    :param bytes: bytes of the files that are in place now.
    :param fetched_bytes: part of these that this call decoded from the store.
    :param base: state for the snapshot of the same cycle.
    """

    bytes: int = 0
    fetched_bytes: int = 0
    base: RestoredState = field(default_factory=RestoredState)


@dataclass(frozen=True, slots=True)
class _Spot:
    """Place of a chunk in the target.

    :param row: number of the chunk in the backup.
    """

    path: str
    ref: ChunkRef
    offset: int
    size_bytes: int
    row: int


@dataclass
class _Done:
    """Result of one batch.

    :param placed: keys of leaves whose content was in place already.
    :param fetched: keys of leaves that were decoded from the store.
    """

    bytes: int = 0
    fetched_bytes: int = 0
    placed: set[str] = field(default_factory=set)
    fetched: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Run:
    """State that the threads of one restore share."""

    chunks: ChunkStore
    target: Target
    bundles: BundleReader
    label: str
    limit: RateLimit
    pages: PageIndex | None
    older: OlderState | None


def restore_tree(
    chunks: ChunkStore,
    files: Sequence[FileEntry],
    target: Path,
    *,
    chunk_size_bytes: int,
    pages: Path | None = None,
    threads: int = 4,
    rate_limit: RateLimit | None = None,
    progress: ProgressFn = no_progress,
    cancelled: Callable[[], bool] = never_cancelled,
    resume: bool = False,
    label: str = "",
    held: Beneath | None = None,
    marker: str = "",
    older: OlderState | None = None,
) -> RestoreResult:
    """Rebuild *files* below *target*; when this function returns, all of them are on disk.

    With *pages*, files that are written after it returns get later timestamps than the restored ones.

    :param pages: file for the page index, by which the snapshot of the same cycle finds changed pages.
    :param resume: *target* may have content: bytes that hash to their chunk's name are kept, the rest is
        fetched. Otherwise *target* must be empty or missing.
    :param label: name of the backup in errors.
    :param held: *target*, if the caller holds it open and has checked it.
    :param marker: file of the caller in *target*, which does not count as content.
    :param older: an older state of the files; bytes of it that hash to their chunk's name are copied.
    :raises PathEscapes: a path or reference leaves its root; nothing was written.
    :raises ManifestCorrupt: entries contradict each other; nothing was written.
    :raises ChunkMissing, ChunkCorrupt: the message names object, chunk, file and backup.
    :raises TargetNotEmpty: see *resume*; or a path below *target* is a symbolic link.
    :raises NodeFull: there is no space left below *target*.
    """
    check_entries(files, chunk_size_bytes, label=label)
    ranges = ranges_of(ref for entry in files for ref in entry.chunks)
    place = Target(target, files, resume=resume, held=held, marker=marker)
    with contextlib.closing(place), place.full_disk():
        place.prepare()
        index = PageIndex.create(pages, chunk_size_bytes) if pages else None
        bundles = BundleReader(chunks.store, ranges, keep=threads + 2)
        run = _Run(chunks, place, bundles, label, rate_limit or RateLimit(None), index, older)
        spots = _spots(files, chunk_size_bytes)
        result = _write_all(run, files, spots, threads, progress, cancelled)
        place.make_durable(threads, cancelled)
    stats = settled_stats(target, files) if index else {}
    result.base = RestoredState(
        files, chunk_size_bytes, result.base.unverified, stats, index, chunks.codec.key_id
    )
    return result


def _write_all(
    run: _Run,
    files: Sequence[FileEntry],
    spots: Iterator[_Spot],
    threads: int,
    progress: ProgressFn,
    cancelled: Callable[[], bool],
) -> RestoreResult:
    total_bytes = sum(f.size_bytes for f in files)
    result = RestoreResult()
    placed: set[str] = set()
    fetched: set[str] = set()
    progress(0, total_bytes)
    fill = functools.partial(_fill, run)
    with contextlib.closing(
        run_bounded(
            batched(spots, max_bytes=_BATCH_BYTES, max_items=_BATCH_CHUNKS),
            fill,
            threads=threads,
            cancelled=cancelled,
        )
    ) as results:
        for _, done in results:
            result.bytes += done.bytes
            result.fetched_bytes += done.fetched_bytes
            placed |= done.placed
            fetched |= done.fetched
            progress(result.bytes, total_bytes)
    result.base.unverified = placed - fetched
    return result


def _spots(files: Iterable[FileEntry], chunk_size_bytes: int) -> Iterator[_Spot]:
    """Yield all chunks; those with pieces come last, sorted by bundle, so that no bundle is needed for long."""
    bundled: list[_Spot] = []
    row = 0
    for entry in files:
        for index, ref in enumerate(entry.chunks):
            size_bytes = chunk_bytes(entry.size_bytes, index, chunk_size_bytes)
            spot = _Spot(entry.path, ref, index * chunk_size_bytes, size_bytes, row)
            row += 1
            if ref is None or isinstance(ref, str):
                yield spot
            else:
                bundled.append(spot)
    bundled.sort(key=_place_in_bundle)
    yield from bundled


def _place_in_bundle(spot: _Spot) -> tuple[str, int]:
    piece = spot.ref.pages if isinstance(spot.ref, PageDelta) else spot.ref
    return (piece.bundle, piece.offset) if isinstance(piece, Piece) else ("", 0)


def _fill(run: _Run, batch: Sequence[_Spot]) -> _Done:
    """Write a batch of chunks to their files."""
    done = _Done()
    path, descriptor = "", -1
    try:
        for spot in batch:
            done.bytes += spot.size_bytes
            if spot.ref is None and not run.target.resume:
                continue
            if spot.path != path:
                if descriptor >= 0:
                    os.close(descriptor)
                path, descriptor = spot.path, -1
                descriptor = run.target.open(path)
            _fill_spot(run, spot, descriptor, done)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return done


def _fill_spot(run: _Run, spot: _Spot, descriptor: int, done: _Done) -> None:
    data: bytes | memoryview | None = _in_place(run, spot, descriptor) if run.target.resume else None
    if data is None and run.older is not None and spot.ref is not None:
        data = _right(run, spot, run.older.read(spot.path, spot.offset, spot.size_bytes))
        if data is not None:
            write_all(descriptor, data, spot.offset)
    if data is not None:
        done.placed.update(key_of(leaf) for leaf in leaves(spot.ref))
    else:
        run.limit.take(spot.size_bytes)
        data = _fetch(run, spot)
        write_all(descriptor, data, spot.offset)
        if spot.ref is not None:
            done.fetched_bytes += spot.size_bytes
            if run.target.resume:
                done.fetched.update(key_of(leaf) for leaf in leaves(spot.ref))
    if run.older is not None:
        run.older.release(spot.path, spot.offset, spot.size_bytes)
    if run.pages and spot.ref is not None:
        run.pages.record(spot.row, content_name(spot.ref), data)


def _fetch(run: _Run, spot: _Spot) -> bytes | memoryview:
    where = f" of backup {run.label} (file {spot.path})" if run.label else f" (file {spot.path})"
    try:
        return run.chunks.read(spot.ref, spot.size_bytes, where=where, pieces=run.bundles)
    except BackupFault as exc:
        exc.evidence |= {"file": spot.path, "backup": run.label}
        raise


def _in_place(run: _Run, spot: _Spot, descriptor: int) -> bytes | None:
    """Return the content of the chunk if it is in the file already, else None."""
    return _right(run, spot, os.pread(descriptor, spot.size_bytes, spot.offset))


def _right(run: _Run, spot: _Spot, present: bytes | None) -> bytes | None:
    """Return *present* if it is the content of the chunk, else None."""
    if present is None or len(present) != spot.size_bytes:
        return None
    if spot.ref is None:
        return present if is_zero(present) else None
    return present if run.chunks.codec.name(present) == content_name(spot.ref) else None
