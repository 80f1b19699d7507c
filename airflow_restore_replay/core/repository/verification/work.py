"""Work list of a verification: each object is read once, and each content in it checked, folder by folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from airflow_restore_replay.core.errors import BackupFault, ManifestCorrupt
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.entries import check_entries
from airflow_restore_replay.core.repository.format.records import FileEntry, Manifest
from airflow_restore_replay.core.repository.format.refs import (
    ChunkRef,
    Leaf,
    Piece,
    chunk_bytes,
    key_of,
    leaves_with_sizes,
)
from airflow_restore_replay.core.repository.objects.bundles import BundleReader, ranges_of
from airflow_restore_replay.core.repository.objects.chunks import ChunkStore
from airflow_restore_replay.core.repository.objects.record_store import manifest_path
from airflow_restore_replay.core.repository.repository import Repository


@dataclass(frozen=True)
class Stored:
    """An object with the contents in it that backups need.

    :param contents: content → uncompressed size.
    """

    name: str
    contents: dict[Leaf, int]

    @property
    def folder(self) -> str:
        return self.name[:2]

    @property
    def size_bytes(self) -> int:
        return sum(self.contents.values())


@dataclass
class Work:
    """Objects to be read.

    :param folders: folder → object → its contents, in reading order.
    :param stores: object → chunk store of its key; names under two keys never coincide.
    :param bad_lists: backup id → what is wrong with its file list or one of its chunk lists.
    """

    folders: dict[str, dict[str, dict[Leaf, int]]]
    stores: dict[str, ChunkStore] = field(default_factory=dict)
    bad_lists: dict[str, Failure] = field(default_factory=dict)

    @classmethod
    def of(cls, folders: Iterable[str]) -> Work:
        return cls({f: {} for f in folders})

    def add(self, ref: ChunkRef, size_bytes: int, path: str, chunks: ChunkStore) -> None:
        """Add the contents of a chunk.

        :param path: path of the file, for messages.
        :raises ManifestCorrupt: file lists disagree on the size of a content.
        """
        for leaf, size in leaves_with_sizes(ref, size_bytes):
            name = leaf if isinstance(leaf, str) else leaf.bundle
            if (folder := self.folders.get(name[:2])) is None:
                continue
            name = name if isinstance(leaf, str) else f"{name}@"
            self.stores[name] = chunks
            contents = folder.setdefault(name, {})
            if contents.setdefault(leaf, size) != size:
                raise ManifestCorrupt(
                    f"Chunk {key_of(leaf)} (file {path}) would have {size} bytes; elsewhere it has {contents[leaf]}.",
                    evidence={"chunk": key_of(leaf), "file": path},
                )

    def objects(self) -> Iterator[Stored]:
        """Yield the objects in reading order."""
        for folder in self.folders.values():
            for name, contents in sorted(folder.items()):
                yield Stored(name, contents)

    @property
    def total_bytes(self) -> int:
        return sum(sum(c.values()) for folder in self.folders.values() for c in folder.values())


def collect(repository: Repository, manifests: Iterable[Manifest], work: Work) -> None:
    """Add all contents of *manifests* to *work*; each chunk list is decoded once, and damaged lists are noted."""
    visited: dict[tuple[str, int], Failure | None] = {}
    for manifest in manifests:
        try:
            entries = repository.load_entries(manifest)
            _check_inline(entries, manifest)
            for entry in entries:
                if not entry.list:
                    _add(work, entry, manifest.chunk_size_bytes, repository.chunks_for(manifest))
                elif (entry.list, entry.size_bytes) not in visited:
                    visited[entry.list, entry.size_bytes] = _visit(repository, manifest, entry, work)
            failures = (visited.get((e.list, e.size_bytes)) for e in entries if e.list)
            if first := next(filter(None, failures), None):
                work.bad_lists[manifest.backup_id] = first
        except BackupFault as exc:
            if repository.store.size(manifest_path(manifest.backup_id)) is None:
                continue  # pruned since the catalog was read
            work.bad_lists[manifest.backup_id] = Failure.of(exc)


def _check_inline(entries: list[FileEntry], manifest: Manifest) -> None:
    """Check the file list, except for chunks in chunk lists."""
    inline = (FileEntry(path=e.path) if e.list else e for e in entries)
    check_entries(inline, manifest.chunk_size_bytes, label=manifest.backup_id)


def _visit(repository: Repository, manifest: Manifest, entry: FileEntry, work: Work) -> Failure | None:
    try:
        refs = repository.load_chunk_list(manifest, entry.list, uncached=True)
        filled = FileEntry(path=entry.path, size_bytes=entry.size_bytes, mode=entry.mode, chunks=refs)
        check_entries([filled], manifest.chunk_size_bytes, label=manifest.backup_id)
        _add(work, filled, manifest.chunk_size_bytes, repository.chunks_for(manifest))
    except BackupFault as exc:
        return Failure.of(exc)
    return None


def _add(work: Work, entry: FileEntry, chunk_size_bytes: int, chunks: ChunkStore) -> None:
    for index, ref in enumerate(entry.chunks):
        size = chunk_bytes(entry.size_bytes, index, chunk_size_bytes)
        work.add(ref, size, entry.path, chunks)


def check_object(chunks: ChunkStore, stored: Stored) -> dict[str, Failure]:
    """Read one object past all caches, and decode and hash the contents that backups need.

    :returns: key of a damaged content → what is wrong with it.
    """
    found = _check(chunks, stored.contents)
    # Bytes may have been damaged in transfer, so damage counts only if it recurs.
    again = {leaf: size for leaf, size in stored.contents.items() if key_of(leaf) in found}
    return _check(chunks, again) if again else {}


def _check(chunks: ChunkStore, contents: dict[Leaf, int]) -> dict[str, Failure]:
    pieces = BundleReader(chunks.store, ranges_of(contents), uncached=True)
    found = {}
    for leaf in sorted(contents, key=lambda leaf: leaf.offset if isinstance(leaf, Piece) else 0):
        try:
            chunks.read(leaf, contents[leaf], uncached=True, pieces=pieces)
        except BackupFault as exc:
            found[key_of(leaf)] = Failure.of(exc)
    return found
