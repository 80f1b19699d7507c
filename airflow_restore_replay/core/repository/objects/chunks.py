"""Contents as objects: chunks of their own, pieces of bundles, page deltas over them.

A content's name is its hash, and what is read is hashed. No object is ever overwritten. When the stored object of a
name is damaged, correct content goes beside it as the next *generation* of the name, and references say which
generation they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import NoReturn, Protocol

from airflow_restore_replay.core.errors import BackupFault, ChunkCorrupt, ChunkMissing, StoreFailed
from airflow_restore_replay.core.repository.format.codec import Codec, CodecError
from airflow_restore_replay.core.repository.format.pages import apply_pages
from airflow_restore_replay.core.repository.format.refs import (
    MAX_GENERATIONS,
    ChunkRef,
    Leaf,
    PageDelta,
    Piece,
    check_ref,
    chunk_path,
    content_name,
    key_of,
    make_ref,
    object_of,
    pages_bytes,
)
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
)

CHUNK_SIZE_BYTES = 4 * 2**20
_ZEROS = bytes(CHUNK_SIZE_BYTES)


@dataclass(frozen=True)
class StoredChunk:
    """:param ref: None when the content is zero bytes and nothing is stored.
    :param new: whether this call created the object.
    :param stored_bytes: compressed bytes that this call wrote.
    """

    ref: str | None
    new: bool = False
    stored_bytes: int = 0


class PieceSource(Protocol):
    """Fetches pieces in another way than one by one."""

    def fetch(self, piece: Piece) -> bytes:
        """:returns: its encoded bytes; fewer where the bundle ends before.

        :raises ObjectMissing: there is no such bundle.
        """
        ...


def is_zero(data: bytes) -> bool:
    return data == (_ZEROS if len(data) == CHUNK_SIZE_BYTES else bytes(len(data)))


class ChunkStore:
    """Reads and creates chunks; may be shared by threads.

    :param codec: how contents look as objects.
    :param marker: object that exists as long as the repository does. When it is gone too, a missing chunk is
        no evidence against a backup: the store is empty, unmounted or another one.
    :param condemned: reads the names of objects that pruning may delete at any moment.
    """

    def __init__(
        self,
        store: ObjectStore,
        codec: Codec | None = None,
        *,
        marker: str | None = None,
        condemned: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.store = store
        self._read_condemned = condemned
        self.condemned: frozenset[str] = frozenset()
        self.codec = codec or Codec()
        self._marker = marker

    def avoid_condemned(self) -> None:
        """Read which objects are condemned; from now on nothing that is stored refers to any of them.

        To be called under the run's lease, before the first chunk.
        """
        self.condemned = frozenset(self._read_condemned())

    def read(
        self,
        ref: ChunkRef,
        size_bytes: int,
        *,
        uncached: bool = False,
        where: str = "",
        pieces: PieceSource | None = None,
    ) -> bytes:
        """Fetch, decode and check one chunk; memory is bounded by *size_bytes*.

        :param size_bytes: uncompressed size that the file list implies.
        :param where: for messages: `` of backup … (file …)``.
        :param pieces: else each piece is a read of its own.
        :raises ChunkMissing: no such object.
        :raises ChunkCorrupt: it does not decode, or to something else than its name says.
        :raises PathEscapes, ManifestCorrupt: *ref* is not a reference.
        """
        if ref is None:
            return bytes(size_bytes)
        check_ref(ref, size_bytes)
        if not isinstance(ref, PageDelta):
            return self._leaf(ref, size_bytes, uncached, where, pieces)
        base = self._leaf(ref.base, size_bytes, uncached, f", base of chunk {ref.name}{where}", pieces)
        changed = self._leaf(
            ref.pages,
            pages_bytes(ref.runs, size_bytes),
            uncached,
            f", the changed pages of chunk {ref.name}{where}",
            pieces,
        )
        data = apply_pages(base, changed, ref.runs)
        if (observed := self.codec.name(data)) != ref.name:
            _raise_corrupt(
                ref.pages, where, f"with its base {key_of(ref.base)} it makes {observed}, not {ref.name}"
            )
        return data

    def _leaf(
        self, leaf: Leaf, size_bytes: int, uncached: bool, where: str, pieces: PieceSource | None
    ) -> bytes:
        limit = self.codec.bound(size_bytes)
        try:
            if isinstance(leaf, str):
                fetch = self.store.get_uncached if uncached else self.store.get
                stored = fetch(chunk_path(leaf), max_bytes=limit)
            elif leaf.stored_bytes > limit:
                raise ObjectTooLarge(object_of(leaf))
            elif pieces:
                stored = pieces.fetch(leaf)
            else:
                stored = self.store.get_range(
                    object_of(leaf), leaf.offset, leaf.stored_bytes, uncached=uncached
                )
        except ObjectMissing:
            self._raise_missing(leaf, where)
        except ObjectTooLarge:
            _raise_corrupt(
                leaf, where, f"its object has more than the {limit} bytes that {size_bytes} can take"
            )
        return self._decode(leaf, stored, size_bytes, where)

    def ensure(
        self, data: bytes, verified: Container[str] = (), *, name: str = "", encoded: bytes | None = None
    ) -> StoredChunk:
        """Make sure that *data* is stored as a chunk of its own, and readable.

        :param verified: references whose stored object this run has decoded and hashed; only those are
            reused unread.
        :param name: of *data*, where it is known. :param encoded: *data* as it is to be stored, likewise.
        :raises StoreFailed: what was just written does not read back.
        """
        if not name and is_zero(data):
            return StoredChunk(None)
        name = name or self.codec.name(data)
        refs = [r for g in range(MAX_GENERATIONS) if chunk_path(r := make_ref(name, g)) not in self.condemned]
        for ref in refs:
            if ref in verified:
                return StoredChunk(ref)
        for ref in refs:
            there = encoded is None and self.store.size(chunk_path(ref)) is not None
            stored = self._reuse(ref, data) if there else None
            stored = stored or self._create(ref, data, encoded)
            if stored:
                return stored
        raise StoreFailed(
            f"All {MAX_GENERATIONS} generations of chunk {name} are damaged in {self.store.url}.",
            hint="The store damages what it keeps; check its medium.",
        )

    def find(self, data: bytes, name: str) -> str | None:
        """:returns: reference of a chunk of its own that reads back as *data*, if there is one in generation 0."""
        path = chunk_path(name)
        if path in self.condemned or self.store.size(path) is None:
            return None
        found = self._reuse(name, data)
        return found.ref if found else None

    def _reuse(self, ref: str, data: bytes) -> StoredChunk | None:
        """:returns: the existing object's reference, when it reads back as *data*."""
        try:
            # What decodes to the name's content is *data*.
            self.read(ref, len(data), uncached=True)
        except BackupFault:
            return None
        return StoredChunk(ref)

    def _create(self, ref: str, data: bytes, encoded: bytes | None) -> StoredChunk | None:
        """:returns: the new object's reference; None when an object is there that is not *data*."""
        stored = encoded if encoded is not None else self.codec.encode(data, content_name(ref))
        try:
            self.store.put_new(chunk_path(ref), stored)
        except AlreadyExists:
            return self._reuse(ref, data)
        try:
            self.read(ref, len(data), uncached=True)
        except BackupFault as exc:
            raise self.unfaithful(f"Chunk {ref}", str(exc)) from exc
        return StoredChunk(ref, new=True, stored_bytes=len(stored))

    def unfaithful(self, what: str, observed: str) -> StoreFailed:
        """:returns: the error for *what* was just written and did not come back."""
        return StoreFailed(
            f"{what} was written to {self.store.url} and did not read back: {observed}",
            hint="The store lost or changed bytes within seconds; nothing was published.",
        )

    def _raise_missing(self, leaf: Leaf, where: str) -> NoReturn:
        path = object_of(leaf)
        if self._marker and self.store.size(self._marker) is None:
            raise StoreFailed(
                f"The repository {self.store.url} is gone: it has neither {path} nor {self._marker}.",
                hint="Is the file system mounted, the URL right?",
            ) from None
        raise ChunkMissing(
            f"{_called(leaf)}{where} is missing: {self.store.url} has no object {path}.",
            evidence={"chunk": key_of(leaf), "object": path},
        ) from None

    def _decode(self, leaf: Leaf, stored: bytes, size_bytes: int, where: str) -> bytes:
        if isinstance(leaf, Piece) and len(stored) != leaf.stored_bytes:
            _raise_corrupt(leaf, where, f"its bundle has {len(stored)} of its {leaf.stored_bytes} bytes")
        try:
            return self.codec.decode(stored, content_name(leaf), size_bytes=size_bytes)
        except CodecError as exc:
            _raise_corrupt(leaf, where, str(exc))


def _called(leaf: Leaf) -> str:
    return f"Chunk {leaf}" if isinstance(leaf, str) else f"Chunk {leaf.name} ({key_of(leaf)})"


def _raise_corrupt(leaf: Leaf, where: str, observed: str) -> NoReturn:
    raise ChunkCorrupt(
        f"{_called(leaf)}{where} is corrupt: {observed}.",
        evidence={"chunk": key_of(leaf), "object": object_of(leaf), "observed": observed},
    ) from None
