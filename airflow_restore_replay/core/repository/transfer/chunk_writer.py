"""Store the chunks of a snapshot: as zeros, by reference, as changed pages, in a bundle, or as a chunk object."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import msgspec

from airflow_restore_replay.core.decoding import decoder, encode
from airflow_restore_replay.core.errors import BackupFault
from airflow_restore_replay.core.repository.format.codec import Content
from airflow_restore_replay.core.repository.format.pages import DELTA_SHARE, cut_pages, pages_of, runs_of
from airflow_restore_replay.core.repository.format.refs import (
    ChunkRef,
    PageDelta,
    Piece,
    bundle_path,
    content_name,
    leaves,
    object_of,
    page_count,
)
from airflow_restore_replay.core.repository.objects.bundles import (
    BUNDLE_BYTES,
    MAX_PIECE_BYTES,
    Bundler,
    BundleReader,
    Slot,
    ranges_of,
)
from airflow_restore_replay.core.repository.objects.chunks import ChunkStore, is_zero
from airflow_restore_replay.core.repository.transfer.restored_state import BaseChunk, RestoredState
from airflow_restore_replay.core.system.parallel import run_bounded

log = logging.getLogger(__name__)

#: pieces are stored again if the base uses less than one byte in this many of their bundle
_SPARSE = 4
_PIECES = decoder(list[Piece])


class Kind(Enum):
    """How a chunk was stored."""

    ZERO = auto()
    REUSED = auto()
    NEW = auto()
    DELTA = auto()


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Result of storing a chunk.

    :param ref: the reference, or the slot that will hold it.
    :param page_bytes: bytes of changed pages.
    :param bundled_bytes: bytes that went into a bundle.
    :param stored_bytes: encoded bytes written now as a chunk object.
    """

    kind: Kind
    ref: ChunkRef | Slot
    page_bytes: int = 0
    bundled_bytes: int = 0
    stored_bytes: int = 0


ZERO = StoredChunk(Kind.ZERO, None)


class Reusable:
    """Predicate for references of the base that may be reused.

    They were decoded in this cycle, are not condemned, and are not in a sparse bundle.
    """

    def __init__(self, base: RestoredState, chunks: ChunkStore) -> None:
        self._base = base
        self._condemned = chunks.condemned
        self._sparse = _sparse_bundles(base, chunks)

    def __call__(self, ref: ChunkRef) -> bool:
        if not self._base.verified(ref):
            return False
        for leaf in leaves(ref):
            if isinstance(leaf, Piece) and leaf.bundle in self._sparse:
                return False
            if self._condemned and object_of(leaf) in self._condemned:
                return False
        return True


def _sparse_bundles(base: RestoredState, chunks: ChunkStore) -> frozenset[str]:
    """Return bundles of which the base uses so little that the used pieces should move to new bundles.

    Only bundles of which the base uses less than a share of a full bundle can be sparse. They are few, so the size of
    each is looked up.
    """
    used = base.used_bytes()
    few = [bundle for bundle, count in used.items() if count * _SPARSE < BUNDLE_BYTES * 2]
    sizes = run_bounded(few, lambda bundle: chunks.store.size(bundle_path(bundle)), threads=8)
    return frozenset(b for b, size in sizes if size is None or used[b] * _SPARSE < size)


class Journal:
    """Journal of the pieces that an interrupted snapshot of this node stored; each is read back before it is used.

    :param path: file on the node; None keeps no journal.
    """

    def __init__(self, path: Path | None, chunks: ChunkStore) -> None:
        self._path = path
        self._chunks = chunks
        self._lock = threading.Lock()
        self._pieces: dict[str, Piece] = {}
        for line in path.read_bytes().splitlines() if path and path.exists() else ():
            try:
                found = _PIECES.decode(line)
            except msgspec.DecodeError:  # torn by the interruption
                continue
            self._pieces.update((p.name, p) for p in found if bundle_path(p.bundle) not in chunks.condemned)
        self._reader = BundleReader(chunks.store, ranges_of(self._pieces.values()), keep=8, uncached=True)

    def record(self, pieces: Iterable[Piece]) -> None:
        """Append stored pieces."""
        if self._path is None:
            return
        with self._lock, open(self._path, "ab") as file:
            file.write(encode(list(pieces)) + b"\n")

    def find(self, name: str, size_bytes: int) -> Piece | None:
        """Return a piece of the journal that reads back as the content *name*; None if there is none."""
        piece = self._pieces.get(name)
        if piece is None:
            return None
        try:
            self._chunks.read(piece, size_bytes, pieces=self._reader)
        except BackupFault as exc:
            log.warning("A piece of the interrupted snapshot is stored again: %s", exc)
            return None
        return piece


class ChunkWriter:
    """Stores chunks; may be shared by threads.

    :param base: state of the backup that the node was restored from.
    :param journal: file of the :class:`Journal`.
    """

    def __init__(self, chunks: ChunkStore, base: RestoredState, journal: Path | None = None) -> None:
        self._chunks = chunks
        self._base = base
        self.reusable = Reusable(base, chunks)
        self._known = base.known(self.reusable)
        self._journal = Journal(journal, chunks)
        self.bundler = Bundler(chunks, stored=self._journal.record)
        self._lock = threading.Lock()
        self._claims: dict[str, Slot] = {}

    def keep(self, data: bytes | bytearray, before: BaseChunk | None = None) -> StoredChunk:
        """Store a chunk in the cheapest way that applies.

        :param before: the base's chunk at the same place.
        :raises StoreFailed: an object just written does not read back.
        """
        if is_zero(data):
            return ZERO
        name = self._chunks.codec.name(data)
        if (ref := self._known.get(name)) is not None:
            return StoredChunk(Kind.REUSED, ref)
        with self._lock:
            # The first thread with this content stores it, for all places.
            if (claimed := self._claims.get(name)) is not None:
                return StoredChunk(Kind.REUSED, claimed)
            slot = self._claims[name] = Slot()
        return self._keep_delta(data, name, slot, before) or self._keep_whole(data, name, slot)

    def is_content(self, data: Content, ref: ChunkRef | Slot) -> bool:
        """Return whether *data* is the content that *ref* refers to."""
        found = ref.ref if isinstance(ref, Slot) else ref
        return found is not None and self._chunks.codec.name(data) == content_name(found)

    def _keep_delta(
        self, data: Content, name: str, slot: Slot, before: BaseChunk | None
    ) -> StoredChunk | None:
        changed = self._changed_pages(data, before)
        if not changed or before is None or before.ref is None:
            return None
        base = before.ref.base if isinstance(before.ref, PageDelta) else before.ref
        runs = runs_of(changed)
        slot.delta = (name, base, runs)
        pages = cut_pages(data, runs)
        pages_name = self._chunks.codec.name(pages)
        if found := self._journal.find(pages_name, len(pages)):
            slot.resolve(found)
            return StoredChunk(Kind.DELTA, slot, len(pages))
        encoded = self._chunks.codec.encode(pages, pages_name)
        self.bundler.add(pages_name, encoded, len(pages), slot)
        return StoredChunk(Kind.DELTA, slot, len(pages), len(pages))

    def _changed_pages(self, data: Content, before: BaseChunk | None) -> set[int]:
        """Return the pages of *data* that a delta must hold; empty if the chunk must be stored whole."""
        if before is None or before.ref is None or self._base.pages is None or before.size_bytes != len(data):
            return set()
        base = before.ref.base if isinstance(before.ref, PageDelta) else before.ref
        if not self.reusable(base):
            return set()
        changed = self._base.pages.changed(before.row, content_name(before.ref), data)
        if changed is None:
            return set()
        if isinstance(before.ref, PageDelta):
            # The depth of deltas is one: the new delta refers to the same base, so it repeats the old delta's pages.
            changed |= pages_of(before.ref.runs)
        return changed if len(changed) * DELTA_SHARE <= page_count(len(data)) else set()

    def _keep_whole(self, data: Content, name: str, slot: Slot) -> StoredChunk:
        slot.delta = None
        if found := self._journal.find(name, len(data)):
            slot.resolve(found)
            return StoredChunk(Kind.REUSED, slot)
        if len(data) > MAX_PIECE_BYTES and (ref := self._chunks.find(name, len(data))):
            slot.ref = ref
            return StoredChunk(Kind.REUSED, slot)
        encoded = self._chunks.codec.encode(data, name)
        if len(encoded) <= MAX_PIECE_BYTES:
            self.bundler.add(name, encoded, len(data), slot)
            return StoredChunk(Kind.NEW, slot, bundled_bytes=len(data))
        placed = self._chunks.create(data, name, encoded)
        slot.ref = placed.ref
        if not placed.new:
            return StoredChunk(Kind.REUSED, slot)
        return StoredChunk(Kind.NEW, slot, stored_bytes=len(encoded))
