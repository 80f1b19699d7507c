"""The scratch copy: a small copy of a backup to be damaged, with its manifest and one content of each kind in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.repository.format.records import BaseRef, FileEntry, LogPiece, Manifest
from airflow_restore_replay.core.repository.format.refs import (
    ChunkRef,
    PageDelta,
    Piece,
    chunk_bytes,
    leaves,
    object_of,
    part_path,
)
from airflow_restore_replay.core.repository.objects.descriptor import read_marker
from airflow_restore_replay.core.repository.objects.record_store import manifest_path
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectStore
from airflow_restore_replay.core.repository.store.opening import open_store

_RUN = "selftest"
#: kinds of stored content; two chunks, so that they can be swapped
_WANTED = ("chunk", "second chunk", "piece", "delta")


@dataclass(frozen=True)
class Scratch:
    """A small copy of a backup, which may be damaged.

    :param root: directory of the copy, a local repository.
    :param keys: keys of the repository, 64 hex digits each, the active one first.
    :param files: kind of content → reference of the only chunk of the file made of it; see :func:`file_of`.
    :param pieces: of the archive, in their order.
    """

    root: Path
    cluster: str
    keys: Sequence[str]
    backup_id: str
    files: dict[str, ChunkRef]
    pieces: Sequence[LogPiece] = ()

    def open(self, *, keys: Sequence[str] | None = None, store: ObjectStore | None = None) -> Repository:
        """Open the copy.

        :param keys: keys to use instead of the copy's.
        :param store: a faulty store to read and write the copy through.
        """
        spec = RepositorySpec(url=self.root.as_uri())
        sound = Repository.open(
            spec, cluster=self.cluster, keys=self.keys if keys is None else keys, write=False
        )
        return Repository(store, read_marker(store), sound.keyring) if store else sound

    def copy(self, root: Path) -> Scratch:
        """Copy the scratch copy to another directory."""
        shutil.copytree(self.root, root)
        return replace(self, root=root)

    @property
    def manifest(self) -> Path:
        """Return the path of the manifest's object."""
        return self.root / manifest_path(self.backup_id)

    def part(self, piece: int) -> Path:
        """Return the path of the first bytes of the piece of that number, from 0."""
        return self.root / part_path(self.pieces[piece].parts[0].object)

    def stored(self, kind: str) -> tuple[Path, slice]:
        """Return path and range of the stored bytes of that content; for a delta, those of its pages."""
        ref = self.files[kind]
        assert ref is not None
        leaf = leaves(ref)[-1]
        whole = slice(None)
        span = slice(leaf.offset, leaf.offset + leaf.stored_bytes) if isinstance(leaf, Piece) else whole
        return self.root / object_of(leaf), span


def make_scratch(
    production: Repository,
    manifest: Manifest,
    root: Path,
    keys: Sequence[str],
    pieces: Sequence[LogPiece] = (),
) -> Scratch:
    """Copy the objects that the selftest damages; *production* is only read.

    :param root: directory of the copy, which does not exist yet.
    :param pieces: of the archive.
    """
    root.mkdir(parents=True)
    spec = RepositorySpec(url=root.as_uri())
    store = open_store(spec, {})
    found = _one_of_each(production.load_files(manifest), manifest.chunk_size_bytes)
    contents = {object_of(leaf) for ref, _ in found.values() if ref for leaf in leaves(ref)}
    contents |= {part_path(part.object) for piece in pieces for part in piece.parts}
    records = ["repository.json", *(info.path for info in production.store.list("keys/"))]
    for path in (*records, *sorted(contents)):
        store.put_new(path, production.store.get(path))
    copy = Repository.open(spec, cluster=production.cluster, keys=keys, write=True)
    epoch = copy.lease.acquire(_RUN, 3600)
    files = [
        FileEntry(path=file_of(kind), size_bytes=size, chunks=[ref]) for kind, (ref, size) in found.items()
    ]
    # The copy has no other backup that could be the base.
    alone = BaseRef(kind="seed", method="copy")
    copy.publish(msgspec.structs.replace(manifest, run=_RUN, lease_epoch=epoch, base=alone), files)
    copy.lease.release(_RUN, epoch)
    if pieces:
        epoch = copy.log_lease.acquire(_RUN, 3600)
        for piece in pieces:
            copy.record(msgspec.structs.replace(piece, run=_RUN, lease_epoch=epoch))
        copy.log_lease.release(_RUN, epoch)
    kinds = {kind: ref for kind, (ref, _) in found.items()}
    return Scratch(root, production.cluster, keys, manifest.backup_id, kinds, pieces)


def file_of(kind: str) -> str:
    """Return the name of the file in the copy that consists of a content of that kind."""
    return f"{kind.replace(' ', '_')}.ibd"


def _one_of_each(files: Sequence[FileEntry], chunk_size_bytes: int) -> dict[str, tuple[ChunkRef, int]]:
    found: dict[str, tuple[ChunkRef, int]] = {}
    for ref, size in _contents(files, chunk_size_bytes):
        kind = "delta" if isinstance(ref, PageDelta) else "piece" if isinstance(ref, Piece) else "chunk"
        if kind == "chunk" and "chunk" in found and found["chunk"][0] != ref and found["chunk"][1] == size:
            kind = "second chunk"
        found.setdefault(kind, (ref, size))
        if len(found) == len(_WANTED):
            break
    return found


def _contents(files: Sequence[FileEntry], chunk_size_bytes: int) -> Iterator[tuple[ChunkRef, int]]:
    for entry in files:
        for index, ref in enumerate(entry.chunks):
            if ref is not None:
                yield ref, chunk_bytes(entry.size_bytes, index, chunk_size_bytes)
