"""Files that nothing touched since the restore of this cycle: they need not be read again.

A file is untouched when its size, both times, its inode and device are those recorded when the restore was on disk, a
second or more before the server's first start. (Size and mtime alone do not tell a swap by RENAME TABLE.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import ChunkRef
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES
from airflow_restore_replay.core.repository.transfer.base import Base, FileStat
from airflow_restore_replay.core.repository.transfer.filesystem import known_file_system
from airflow_restore_replay.core.repository.transfer.walk import Source, is_excluded

#: of the skipped chunks, one in so many is read and compared all the same
_SAMPLE = 256


def recorded_stats(root: Path, files: Iterable[FileEntry]) -> dict[str, FileStat]:
    """:returns: what the file system says of each file now; nothing where it is not one that can be relied on."""
    if known_file_system(root) is None:
        return {}
    return {e.path: FileStat.of((root / e.path).lstat()) for e in files if not e.directory}


def take_over(
    root: Path,
    files: Iterable[Source],
    base: Base,
    reusable: Callable[[ChunkRef], bool],
    skippable: Sequence[str],
) -> list[Source]:
    """Give untouched files the base's references.

    :param skippable: patterns of the files that may be passed over at all.
    :returns: these files.
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
        if is_excluded(source.relative, skippable) and all(map(reusable, entry.chunks)):
            source.chunks = list(entry.chunks)
            skipped.append(source)
    return skipped


def sample(skipped: Sequence[Source], rng: random.Random) -> list[tuple[Source, int]]:
    """:returns: one in 256 of the chunks of *skipped*, at random, and at least one."""
    total = sum(len(s.chunks) for s in skipped)
    count = max(total // _SAMPLE, min(total, 1))
    chosen = sorted(rng.sample(range(total), count), reverse=True)
    found, first = [], 0
    for source in skipped:
        while chosen and chosen[-1] < first + len(source.chunks):
            found.append((source, chosen.pop() - first))
        first += len(source.chunks)
    return found
