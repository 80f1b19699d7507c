"""State that a restore leaves on the node, for the snapshot of the same cycle.

The snapshot may reference a content without reading it back only if this cycle's restore decoded and hashed it, and may
skip a file only if it is unchanged since the restore wrote it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import (
    ChunkRef,
    Piece,
    chunk_bytes,
    content_name,
    key_of,
    leaves,
)
from airflow_restore_replay.core.repository.transfer.pageindex import PageIndex
from airflow_restore_replay.core.system.files import replace_file

LOG = logging.getLogger(__name__)


class FileStat(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Stats of a file; any change of its content changes at least one of them."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, info: os.stat_result) -> FileStat:
        return cls(info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_dev)


class _Kept(msgspec.Struct):
    chunk_size_bytes: int
    files: list[FileEntry]
    unverified: set[str]
    stats: dict[str, FileStat]
    key_id: str = ""


@dataclass(frozen=True)
class BaseChunk:
    """A chunk of the base.

    :param row: row of the chunk in the page index.
    """

    ref: ChunkRef
    size_bytes: int
    row: int


@dataclass
class RestoredState:
    """The backup that a node was restored from; empty after a seed.

    :param files: entries of the backup's file list.
    :param unverified: keys of leaves that were not decoded from the store, because the bytes were in place already.
    :param stats: stats of files when the restore was on disk; empty if the file system's timestamps are not reliable.
    :param pages: page index of the restored pages.
    :param key_id: the key of all references, which are not valid under another key.
    """

    files: Sequence[FileEntry] = ()
    chunk_size_bytes: int = 0
    unverified: AbstractSet[str] = frozenset()
    stats: Mapping[str, FileStat] = field(default_factory=dict)
    pages: PageIndex | None = None
    key_id: str = ""

    def __post_init__(self) -> None:
        self._by_path = {entry.path: entry for entry in self.files if not entry.directory}
        self._first_row: dict[str, int] = {}
        row = 0
        for entry in self.files:
            self._first_row[entry.path] = row
            row += len(entry.chunks)

    def entry(self, path: str) -> FileEntry | None:
        """Return the entry of a file of the backup; None if it has none."""
        return self._by_path.get(path)

    def chunk(self, path: str, index: int) -> BaseChunk | None:
        """Return the base's chunk at the same place; None if there is none."""
        entry = self._by_path.get(path)
        if entry is None or index >= len(entry.chunks):
            return None
        size = chunk_bytes(entry.size_bytes, index, self.chunk_size_bytes)
        return BaseChunk(entry.chunks[index], size, self._first_row[path] + index)

    def verified(self, ref: ChunkRef) -> bool:
        """Return whether this cycle decoded and hashed all contents of *ref*."""
        return not self.unverified or all(key_of(leaf) not in self.unverified for leaf in leaves(ref))

    def refs(self) -> Iterator[ChunkRef]:
        """Yield the references of all chunks."""
        for entry in self.files:
            yield from entry.chunks

    @property
    def lists(self) -> set[str]:
        """Return references of chunk lists that were decoded in this cycle."""
        return {entry.list for entry in self.files if entry.list}

    def known(self, reusable: Callable[[ChunkRef], bool]) -> dict[str, ChunkRef]:
        """Return content name → reference, for all *reusable* references."""
        return {content_name(ref): ref for ref in self.refs() if ref is not None and reusable(ref)}

    def used_bytes(self) -> dict[str, int]:
        """Return bundle → number of its stored bytes that the backup uses."""
        used: dict[str, int] = {}
        seen: set[tuple[str, int]] = set()
        for ref in self.refs():
            for leaf in leaves(ref) if not isinstance(ref, str) else ():
                if isinstance(leaf, Piece) and (leaf.bundle, leaf.offset) not in seen:
                    seen.add((leaf.bundle, leaf.offset))
                    used[leaf.bundle] = used.get(leaf.bundle, 0) + leaf.stored_bytes
        return used

    def save(self, path: Path) -> None:
        """Write the state to a file, except for the page index, which is a file already."""
        kept = _Kept(
            self.chunk_size_bytes, list(self.files), set(self.unverified), dict(self.stats), self.key_id
        )
        replace_file(path, encode(kept))

    @classmethod
    def load(cls, path: Path, index: Path) -> RestoredState:
        """Return the state that :meth:`save` wrote; an empty base if there is none, or if it cannot be read.

        An empty base is always right: the snapshot reads and stores more.

        :param index: path of the page index.
        """
        try:
            kept = decode(path.read_bytes(), _Kept)
        except FileNotFoundError:
            return cls()
        except (OSError, msgspec.MsgspecError) as exc:
            LOG.warning("The state %s is unreadable and counts as missing: %s", path, exc)
            return cls()
        pages = PageIndex.open(index, kept.chunk_size_bytes)
        return cls(kept.files, kept.chunk_size_bytes, kept.unverified, kept.stats, pages, kept.key_id)
