"""Content-addressed chunks: the name is the BLAKE3 of the content, the object is a zstd frame of it.

A chunk is never overwritten. When the stored object of a name is damaged, correct content goes beside it as
the next *generation* of the name, and references say which generation they mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import NoReturn

from airflow_restore_replay.core.errors import (
    BackupFault,
    ChunkCorrupt,
    ChunkMissing,
    PathEscapes,
    Refused,
    StoreFailed,
)
from airflow_restore_replay.core.repository.codec import Codec, CodecError
from airflow_restore_replay.core.repository.records import ChunkRef, PageDelta
from airflow_restore_replay.core.repository.store import (
    AlreadyExists,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
)

CHUNK_SIZE_BYTES = 4 * 2**20
#: a store that damages a content this often is not a store
MAX_GENERATIONS = 16
_REF = re.compile(r"([0-9a-f]{64})(?:\.([1-9][0-9]{0,3}))?")
_PATH = re.compile(r"chunks/[0-9a-f]{2}/([0-9a-f]{64})\.(0|[1-9][0-9]{0,3})")
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


def make_ref(name: str, generation: int) -> str:
    """:returns: ``<name>`` for generation 0, else ``<name>.<generation>``."""
    return f"{name}.{generation}" if generation else name


def split_ref(ref: str) -> tuple[str, int]:
    """:returns: name and generation.

    :raises PathEscapes: it is not a chunk reference and could name any object.
    """
    match = _REF.fullmatch(ref)
    if not match:
        raise PathEscapes(
            f"{ref[:200]!r} is not a chunk reference (64 hex digits, and a generation).",
            evidence={"chunk": ref[:200]},
        )
    return match[1], int(match[2] or 0)


def chunk_path(ref: str) -> str:
    """:returns: the object's name, ``chunks/<first two digits>/<name>.<generation>``."""
    name, generation = split_ref(ref)
    return f"chunks/{name[:2]}/{name}.{generation}"


def ref_of(path: str) -> str | None:
    """:returns: the reference of the chunk object *path*; None when that is no chunk's name."""
    match = _PATH.fullmatch(path)
    return make_ref(match[1], int(match[2])) if match else None


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
        self._store = store
        self._read_condemned = condemned
        self._condemned: frozenset[str | None] = frozenset()
        self.codec = codec or Codec()
        self._marker = marker

    def avoid_condemned(self) -> None:
        """Read which objects are condemned; from now on :meth:`ensure` refers to none of them.

        To be called under the run's lease, before the first chunk.
        """
        self._condemned = frozenset(ref_of(path) for path in self._read_condemned())

    def read(self, ref: ChunkRef, size_bytes: int, *, uncached: bool = False, where: str = "") -> bytes:
        """Fetch, decode and check one chunk; memory is bounded by *size_bytes*.

        :param size_bytes: uncompressed size that the file list implies.
        :param where: for messages: `` of backup … (file …)``.
        :raises ChunkMissing: no such object.
        :raises ChunkCorrupt: it does not decode, or to something else than its name says.
        :raises PathEscapes: *ref* is not a reference.
        """
        if ref is None:
            return bytes(size_bytes)
        if isinstance(ref, PageDelta):
            raise Refused(
                f"A chunk{where} is a page delta. Format 1 reserves page deltas; nothing reads them yet.",
                hint="Use the release that wrote the backup.",
            )
        path = chunk_path(ref)
        limit = self.codec.bound(size_bytes)
        fetch = self._store.get_uncached if uncached else self._store.get
        try:
            stored = fetch(path, max_bytes=limit)
        except ObjectMissing:
            self._raise_missing(ref, path, where)
        except ObjectTooLarge:
            _raise_corrupt(
                ref, where, f"its object has more than the {limit} bytes that {size_bytes} can take"
            )
        return self._decode(ref, stored, size_bytes, where)

    def ensure(self, data: bytes, verified: Container[str] = ()) -> StoredChunk:
        """Make sure that *data* is stored and readable.

        :param verified: references whose stored object this run has decoded and hashed; only those are
            reused unread.
        :raises StoreFailed: what was just written does not read back.
        """
        if is_zero(data):
            return StoredChunk(None)
        name = self.codec.name(data)
        refs = [r for g in range(MAX_GENERATIONS) if (r := make_ref(name, g)) not in self._condemned]
        for ref in refs:
            if ref in verified:
                return StoredChunk(ref)
        for ref in refs:
            stored = self._reuse(ref, data) if self._store.size(chunk_path(ref)) is not None else None
            stored = stored or self._create(ref, data)
            if stored:
                return stored
        raise StoreFailed(
            f"All {MAX_GENERATIONS} generations of chunk {name} are damaged in {self._store.url}.",
            hint="The store damages what it keeps; check its medium.",
        )

    def _reuse(self, ref: str, data: bytes) -> StoredChunk | None:
        """:returns: the existing object's reference, when it reads back as *data*."""
        try:
            good = self.read(ref, len(data), uncached=True) == data
        except BackupFault:
            return None
        return StoredChunk(ref) if good else None

    def _create(self, ref: str, data: bytes) -> StoredChunk | None:
        """:returns: the new object's reference; None when an object is there that is not *data*."""
        stored = self.codec.encode(data, split_ref(ref)[0])
        try:
            self._store.put_new(chunk_path(ref), stored)
        except AlreadyExists:
            return self._reuse(ref, data)
        try:
            back = self.read(ref, len(data), uncached=True)
        except BackupFault as exc:
            raise self._unfaithful(ref, str(exc)) from exc
        if back != data:
            raise self._unfaithful(ref, "Other bytes came back.")
        return StoredChunk(ref, new=True, stored_bytes=len(stored))

    def _unfaithful(self, ref: str, observed: str) -> StoreFailed:
        return StoreFailed(
            f"Chunk {ref} was written to {self._store.url} and did not read back: {observed}",
            hint="The store lost or changed bytes within seconds; nothing was published.",
        )

    def _raise_missing(self, ref: str, path: str, where: str) -> NoReturn:
        if self._marker and self._store.size(self._marker) is None:
            raise StoreFailed(
                f"The repository {self._store.url} is gone: it has neither {path} nor {self._marker}.",
                hint="Is the file system mounted, the URL right?",
            ) from None
        raise ChunkMissing(
            f"Chunk {ref}{where} is missing: {self._store.url} has no object {path}.", evidence={"chunk": ref}
        ) from None

    def _decode(self, ref: str, stored: bytes, size_bytes: int, where: str) -> bytes:
        try:
            return self.codec.decode(stored, split_ref(ref)[0], size_bytes=size_bytes)
        except CodecError as exc:
            _raise_corrupt(ref, where, str(exc))


def _raise_corrupt(ref: str, where: str, observed: str) -> NoReturn:
    raise ChunkCorrupt(
        f"Chunk {ref}{where} is corrupt: {observed}.", evidence={"chunk": ref, "observed": observed}
    ) from None
