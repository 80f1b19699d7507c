"""Contents as objects: chunk objects, pieces of bundles, and page deltas over them.

A content's name is its hash, and each content is hashed when it is read. References name the generation as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn, Protocol

from airflow_restore_replay.core.errors import BackupFault, ChunkCorrupt, ChunkMissing, StoreFailed
from airflow_restore_replay.core.repository.format.codec import Codec, CodecError, Content
from airflow_restore_replay.core.repository.format.pages import apply_pages
from airflow_restore_replay.core.repository.format.refs import (
    ChunkRef,
    Leaf,
    PageDelta,
    Piece,
    check_ref,
    chunk_path,
    content_name,
    key_of,
    object_of,
    pages_bytes,
)
from airflow_restore_replay.core.repository.objects.generations import Placed, place
from airflow_restore_replay.core.repository.store.base import (
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
)

CHUNK_SIZE_BYTES = 4 * 2**20
_ZEROS = bytes(CHUNK_SIZE_BYTES)


class PieceSource(Protocol):
    """Fetches pieces otherwise than by one request each."""

    def fetch(self, piece: Piece) -> bytes:
        """Return the encoded bytes of *piece*; fewer if the bundle ends earlier.

        :raises ObjectMissing: the bundle does not exist.
        """
        ...


def is_zero(data: bytes | bytearray) -> bool:
    """Return whether all bytes of *data* are zero."""
    return data == (_ZEROS if len(data) == CHUNK_SIZE_BYTES else bytes(len(data)))


class ChunkStore:
    """Reads and creates chunks; may be shared by threads.

    :param codec: encodes and decodes contents.
    :param marker: object that exists as long as the repository does. If it is missing as well, a missing chunk is no
        evidence against a backup: the store is empty, not mounted, or the wrong one.
    :param condemned: reads the names of objects that pruning may delete at any time.
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
        """Read which objects are condemned, so that new references avoid them from now on.

        Call this under the run's lease, before the first chunk is written.
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
    ) -> bytes | memoryview:
        """Fetch, decode and check one chunk; memory is bounded by *size_bytes*.

        The result is valid until this thread reads the next chunk.

        :param size_bytes: uncompressed size that the file list implies.
        :param uncached: read from the medium, not from a cache of this machine.
        :param where: text for messages: `` of backup … (file …)``.
        :param pieces: fetches pieces; without it, each piece is read by a request of its own.
        :raises ChunkMissing: the object does not exist.
        :raises ChunkCorrupt: it does not decode, or its hash is not its name.
        :raises PathEscapes, ManifestCorrupt: *ref* is not a reference.
        """
        if ref is None:
            return bytes(size_bytes)
        check_ref(ref, size_bytes)
        if not isinstance(ref, PageDelta):
            return self._leaf(ref, size_bytes, uncached, where, pieces)
        changed_bytes = pages_bytes(ref.runs, size_bytes)
        of = f", the changed pages of chunk {ref.name}{where}"
        changed = bytes(self._leaf(ref.pages, changed_bytes, uncached, of, pieces))
        data = self._leaf(ref.base, size_bytes, uncached, f", base of chunk {ref.name}{where}", pieces)
        apply_pages(data, changed, ref.runs)
        if (observed := self.codec.name(data)) != ref.name:
            _raise_corrupt(
                ref.pages, where, f"with its base {key_of(ref.base)} it makes {observed}, not {ref.name}"
            )
        return data

    def _leaf(
        self, leaf: Leaf, size_bytes: int, uncached: bool, where: str, pieces: PieceSource | None
    ) -> memoryview:
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
                leaf, where, f"its object has more than the {limit} bytes that {size_bytes} can encode to"
            )
        return self._decode(leaf, stored, size_bytes, where)

    def create(self, data: Content, name: str, encoded: bytes) -> Placed:
        """Store *data* as a chunk object, unless a readable one exists.

        :param name: name of *data*.
        :param encoded: encoded bytes of *data*.
        :raises StoreFailed: the object just written does not read back.
        """
        return place(
            self.store,
            "Chunk",
            name,
            encoded,
            path_of=chunk_path,
            read_back=lambda ref: self._read_back(ref, len(data)),
            condemned=self.condemned,
        )

    def find(self, name: str, size_bytes: int) -> str | None:
        """Return the reference of the chunk object *name* of generation 0, if it exists and reads back."""
        path = chunk_path(name)
        if path in self.condemned or self.store.size(path) is None:
            return None
        return None if self._read_back(name, size_bytes) else name

    def _read_back(self, ref: str, size_bytes: int) -> str:
        """Return what is wrong with the stored chunk; empty if it reads back."""
        try:
            self.read(ref, size_bytes, uncached=True)
        except BackupFault as exc:
            return str(exc)
        return ""

    def _raise_missing(self, leaf: Leaf, where: str) -> NoReturn:
        path = object_of(leaf)
        if self._marker and self.store.size(self._marker) is None:
            raise StoreFailed(
                f"The repository {self.store.url} is gone: it has neither {path} nor {self._marker}.",
                hint="Check that the file system is mounted and that the URL is right.",
            ) from None
        raise ChunkMissing(
            f"{_called(leaf)}{where} is missing: {self.store.url} has no object {path}.",
            evidence={"chunk": key_of(leaf), "object": path},
        ) from None

    def _decode(self, leaf: Leaf, stored: bytes, size_bytes: int, where: str) -> memoryview:
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
