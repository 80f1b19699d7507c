"""Files that are unchanged since the restore of this cycle, so that the snapshot does not read them.

A file is unchanged if its size, mtime, ctime, inode and device are those recorded when the restore was on disk, before
anything could be written with the same timestamp. Size and mtime alone do not reveal a swap by RENAME TABLE.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import ChunkRef
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES
from airflow_restore_replay.core.repository.transfer.restored_state import FileStat, RestoredState
from airflow_restore_replay.core.repository.transfer.walk import Source, matches
from airflow_restore_replay.core.system.filesystem import known_file_system

#: one in this many of the skipped chunks is read and compared nevertheless
_SAMPLE = 256
#: timestamps advance by a timer tick (10 ms at most), or by a second on ext4 with small inodes
_LONGEST_SETTLE_S = 2.5
_SETTLE_POLL_S = 0.002


def settled_stats(root: Path, files: Iterable[FileEntry]) -> dict[str, FileStat]:
    """Record the stats of files, then wait until the file system stamps writes with a later time.

    :returns: path → stats. Empty if the file system is unknown or its clock does not advance: then no file can be
        recognized as unchanged.
    """
    if known_file_system(root) is None:
        return {}
    stats = {e.path: FileStat.of((root / e.path).lstat()) for e in files if not e.directory}
    newest_ns = max((s.ctime_ns for s in stats.values()), default=0)
    return stats if _time_stamps_pass(root, newest_ns) else {}


def _time_stamps_pass(root: Path, newest_ns: int) -> bool:
    """Wait until a change below *root* gets a timestamp later than *newest_ns*.

    :returns: whether that happened within the limit; after a clock was set back, it may take hours.
    """
    deadline = time.monotonic() + _LONGEST_SETTLE_S
    with tempfile.TemporaryFile(dir=root) as probe:
        while True:
            os.utime(probe.fileno())
            if os.fstat(probe.fileno()).st_ctime_ns > newest_ns:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_SETTLE_POLL_S)


def unchanged_files(root: Path, base: RestoredState, patterns: Sequence[str]) -> dict[str, FileStat]:
    """Return path → stats of the files that are unchanged since the restore of *base*; empty after a seed.

    :param patterns: only files that match one of these patterns.
    """
    if known_file_system(root) is None:
        return {}
    found = {}
    for path, known in base.stats.items():
        if matches(path, patterns) and (root / path).exists() and FileStat.of((root / path).lstat()) == known:
            found[path] = known
    return found


def take_over(
    root: Path,
    files: Iterable[Source],
    base: RestoredState,
    reusable: Callable[[ChunkRef], bool],
    skippable: Sequence[str],
) -> list[Source]:
    """Give unchanged files the references of the base.

    :param reusable: whether a reference of the base may be reused.
    :param skippable: patterns of the files that may be skipped at all.
    :returns: these files, which are not read.
    """
    if not skippable or not base.stats or base.chunk_size_bytes != CHUNK_SIZE_BYTES:
        return []
    if known_file_system(root) is None:
        return []
    skipped = []
    for source in files:
        entry = base.entry(source.relative)
        if entry is None or base.stats.get(source.relative) != FileStat.of(source.info):
            continue
        if matches(source.relative, skippable) and all(map(reusable, entry.chunks)):
            source.chunks = list(entry.chunks)
            skipped.append(source)
    return skipped


def sample(skipped: Sequence[Source], rng: random.Random) -> list[tuple[Source, int]]:
    """Return one in 256 of the chunks of *skipped*, chosen at random, and at least one, as file and index."""
    total = sum(len(s.chunks) for s in skipped)
    count = max(total // _SAMPLE, min(total, 1))
    chosen = sorted(rng.sample(range(total), count), reverse=True)
    found, first = [], 0
    for source in skipped:
        while chosen and chosen[-1] < first + len(source.chunks):
            found.append((source, chosen.pop() - first))
        first += len(source.chunks)
    return found
