"""Copy a cleanly stopped data directory into the repository."""

from __future__ import annotations

import errno
import math
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from airflow_restore_replay.core.errors import InternalError
from airflow_restore_replay.core.repository.format.records import FileEntry, Sizes
from airflow_restore_replay.core.repository.format.refs import chunk_bytes, chunk_count
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES, ChunkStore, is_zero
from airflow_restore_replay.core.repository.rate_limit import (
    ProgressFn,
    RateLimit,
    never_cancelled,
    no_progress,
)
from airflow_restore_replay.core.repository.transfer.chunk_writer import ZERO, ChunkWriter, Kind, StoredChunk
from airflow_restore_replay.core.repository.transfer.restored_state import RestoredState
from airflow_restore_replay.core.repository.transfer.unchanged_files import sample, take_over
from airflow_restore_replay.core.repository.transfer.walk import (
    Source,
    changed,
    matches,
    refuse_changes,
    walk,
)
from airflow_restore_replay.core.system.parallel import batched, run_bounded

__all__ = ["matches", "snapshot_tree"]

#: small files are processed in batches of at most so many bytes and files
_BATCH_BYTES = CHUNK_SIZE_BYTES
_BATCH_FILES = 256
#: number of files that each thread opens ahead
_READ_AHEAD = 32
_local = threading.local()


@dataclass(frozen=True, slots=True)
class _Item:
    """A chunk to be read.

    :param proof: the chunk is of a skipped file, and is only compared with the reference that was reused for it.
    """

    source: Source
    index: int
    size_bytes: int
    proof: bool = False


@dataclass
class _Tally:
    new_bytes: int = 0
    delta_bytes: int = 0
    reused_bytes: int = 0
    zero_bytes: int = 0
    stored_bytes: int = 0
    new_chunks: int = 0
    delta_chunks: int = 0
    delta_page_bytes: int = 0
    bundled_bytes: int = 0
    read_bytes: int = 0

    def add(self, kept: StoredChunk, size_bytes: int) -> None:
        self.stored_bytes += kept.stored_bytes
        self.bundled_bytes += kept.bundled_bytes
        if kept.kind is Kind.ZERO:
            self.zero_bytes += size_bytes
        elif kept.kind is Kind.REUSED:
            self.reused_bytes += size_bytes
        elif kept.kind is Kind.NEW:
            self.new_bytes += size_bytes
            self.new_chunks += 1
        else:
            self.delta_bytes += size_bytes
            self.delta_page_bytes += kept.page_bytes
            self.delta_chunks += 1


def snapshot_tree(
    chunks: ChunkStore,
    root: Path,
    *,
    excluded: Sequence[str] = (),
    base: RestoredState | None = None,
    skippable: Sequence[str] = (),
    journal: Path | None = None,
    threads: int = 4,
    rate_limit: RateLimit | None = None,
    progress: ProgressFn = no_progress,
    cancelled: Callable[[], bool] = never_cancelled,
    rng: random.Random | None = None,
) -> tuple[list[FileEntry], Sizes]:
    """Store every file below *root*; new contents are read back before this function returns.

    :param excluded: shell patterns of paths relative to *root*; ``*`` does not match ``/``. Only a pattern
        that ends in ``/`` excludes directories, with everything below them.
    :param base: state of this cycle's restore; only contents that it decoded are reused without reading them back.
        By default nothing is reused in this way.
    :param skippable: patterns of files that are not read if they are unchanged since that restore.
    :param journal: file by which an interrupted snapshot of the same directory is resumed.
    :param rng: chooses the chunks of skipped files that are read nevertheless.
    :returns: entries sorted by path, and the amounts read and stored.
    :raises UnsupportedTables: there is a symbolic link or special file; the message names it.
    :raises InternalError: a file changed meanwhile, so something still writes; or a skipped file has changed.
    """
    chunks.avoid_condemned()
    if base is None or base.key_id != chunks.codec.key_id:
        base = RestoredState()  # the key was rotated, so no reference of the base is valid
    sources = list(walk(root, excluded))
    files = [s for s in sources if not s.directory]
    keeper = ChunkWriter(chunks, base, journal)
    skipped = take_over(root, files, base, keeper.reusable, skippable)
    proofs = sample(skipped, rng or random.SystemRandom())
    tally = _copy(keeper, base, files, proofs, threads, rate_limit, progress, cancelled)
    keeper.bundler.close()
    refuse_changes(root, sources, excluded)
    total_bytes = sum(s.info.st_size for s in files)
    zero_bytes = sum(_zero_bytes(s) for s in skipped)
    skipped_bytes = sum(s.info.st_size for s in skipped)
    return [s.entry for s in sources], Sizes(
        total_bytes=total_bytes,
        new_bytes=tally.new_bytes,
        delta_bytes=tally.delta_bytes,
        delta_page_bytes=tally.delta_page_bytes,
        delta_chunks=tally.delta_chunks,
        reused_bytes=tally.reused_bytes + skipped_bytes - zero_bytes,
        zero_bytes=tally.zero_bytes + zero_bytes,
        read_bytes=tally.read_bytes,
        skipped_bytes=total_bytes - tally.read_bytes,
        skipped_files=len(skipped),
        bundled_bytes=tally.bundled_bytes,
        bundles=keeper.bundler.bundles,
        stored_bytes=tally.stored_bytes + keeper.bundler.stored_bytes,
        files=len(files),
        new_chunks=tally.new_chunks,
    )


def _zero_bytes(source: Source) -> int:
    size = source.info.st_size
    return sum(chunk_bytes(size, i, CHUNK_SIZE_BYTES) for i, ref in enumerate(source.chunks) if ref is None)


def _copy(
    keeper: ChunkWriter,
    base: RestoredState,
    files: Sequence[Source],
    proofs: Sequence[tuple[Source, int]],
    threads: int,
    rate_limit: RateLimit | None,
    progress: ProgressFn,
    cancelled: Callable[[], bool],
) -> _Tally:
    limit = rate_limit or RateLimit(None)
    tally = _Tally()
    todo = [s for s in files if not s.chunks and s.info.st_size]
    total_bytes = sum(s.info.st_size for s in files)
    done_bytes = total_bytes - sum(s.info.st_size for s in todo)

    def work(batch: list[_Item]) -> list[tuple[StoredChunk | None, int]]:
        done = []
        for item, data in _read(batch):
            read_bytes = 0 if data is None else len(data)
            limit.take(read_bytes)
            done.append((_keep(keeper, base, item, data), read_bytes))
        return done

    progress(0, total_bytes)
    for source in todo:
        source.chunks = [None] * chunk_count(source.info.st_size, CHUNK_SIZE_BYTES)
    batches = batched(_items(todo, proofs), max_bytes=_BATCH_BYTES, max_items=_BATCH_FILES)
    with closing(run_bounded(batches, work, threads=threads, cancelled=cancelled)) as results:
        for batch, kept in results:
            for item, (one, read_bytes) in zip(batch, kept, strict=True):
                tally.read_bytes += read_bytes
                if one is not None:
                    item.source.chunks[item.index] = one.ref
                    tally.add(one, item.size_bytes)
                    done_bytes += item.size_bytes
            progress(done_bytes, total_bytes)
    progress(total_bytes, total_bytes)
    return tally


def _keep(
    keeper: ChunkWriter, base: RestoredState, item: _Item, data: bytes | bytearray | None
) -> StoredChunk | None:
    """Store the chunk of an item, or compare it if it is a proof.

    :param data: content of the chunk; None for a hole.
    :returns: the stored chunk; None for a proof.
    """
    if item.proof:
        _refuse_difference(keeper, item, data)
        return None
    if data is None:
        return ZERO
    return keeper.keep(data, base.chunk(item.source.relative, item.index))


def _refuse_difference(keeper: ChunkWriter, item: _Item, data: bytes | bytearray | None) -> None:
    ref = item.source.chunks[item.index]
    if data is None or ref is None:
        same = ref is None and (data is None or is_zero(data))
    else:
        same = keeper.is_content(data, ref)
    if same:
        return
    raise InternalError(
        f"{item.source.relative} changed at byte {item.index * CHUNK_SIZE_BYTES} although size, times and inode "
        "are the restore's; nothing was published.",
        hint="Set transfer.paranoid: true, which reads every file; and find out what bypasses the file system.",
        evidence={"file": item.source.relative},
    )


def _items(files: Sequence[Source], proofs: Sequence[tuple[Source, int]]) -> Iterator[_Item]:
    for source, index in proofs:
        yield _Item(source, index, chunk_bytes(source.info.st_size, index, CHUNK_SIZE_BYTES), proof=True)
    for source in files:
        for index in range(len(source.chunks)):
            yield _Item(source, index, chunk_bytes(source.info.st_size, index, CHUNK_SIZE_BYTES))


def _read(batch: list[_Item]) -> Iterator[tuple[_Item, bytes | bytearray | None]]:
    """Yield items with their content, which is valid until the next item; None for a hole."""
    files: dict[str, int] = {}
    coming = iter(batch)
    try:
        for number, item in enumerate(batch):
            # Small files are scattered over a disk, so the kernel is told of several before the first read waits.
            for ahead in islice(coming, _READ_AHEAD if number == 0 else 1):
                if ahead.source.relative not in files:
                    files[ahead.source.relative] = _open(ahead.source)
                    if ahead.size_bytes < CHUNK_SIZE_BYTES:
                        os.posix_fadvise(files[ahead.source.relative], 0, 0, os.POSIX_FADV_WILLNEED)
            path = item.source.relative
            if path not in files:  # proofs of another file may lie between those of one file
                files[path] = _open(item.source)
            yield item, _content(files[path], item)
            if number + 1 == len(batch) or batch[number + 1].source.relative != path:
                os.close(files.pop(path))
    finally:
        for descriptor in files.values():
            os.close(descriptor)


def _content(descriptor: int, item: _Item) -> bytes | bytearray | None:
    """Read the content of a chunk; return None for a hole, which needs no read."""
    begin = item.index * CHUNK_SIZE_BYTES
    if item.size_bytes == CHUNK_SIZE_BYTES:
        if _next_data(descriptor, begin) >= begin + item.size_bytes:
            return None
        # Allocating memory for each whole chunk would cost as much as reading it.
        if not hasattr(_local, "room"):
            _local.room = bytearray(CHUNK_SIZE_BYTES)
        data: bytes | bytearray = _local.room
        count = os.preadv(descriptor, [_local.room], begin)
    else:
        data = os.pread(descriptor, item.size_bytes, begin)
        count = len(data)
    if count != item.size_bytes:
        raise changed(item.source.relative, "it became shorter")
    return data


def _next_data(descriptor: int, offset: int) -> float:
    """Return where the next data after a hole begins; *offset* itself if the file system does not report holes.

    Source: lseek(2), ``SEEK_DATA``.
    """
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as exc:
        return math.inf if exc.errno == errno.ENXIO else offset


def _open(source: Source) -> int:
    try:
        return os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise changed(source.relative, "it was removed") from None
