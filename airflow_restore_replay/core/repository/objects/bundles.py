"""Bundles: many small encoded contents in one object, which is written once and read by one request."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from airflow_restore_replay.core.repository.format.codec import CodecError
from airflow_restore_replay.core.repository.format.refs import (
    ChunkRef,
    PageDelta,
    Piece,
    bundle_path,
    leaves,
)
from airflow_restore_replay.core.repository.objects.chunks import ChunkStore
from airflow_restore_replay.core.repository.objects.generations import place
from airflow_restore_replay.core.repository.store.base import ObjectMissing, ObjectStore

#: a content that encodes to at most this becomes a piece
MAX_PIECE_BYTES = 512 * 2**10
#: a bundle is stored once it has this many bytes
BUNDLE_BYTES = 4 * 2**20


@dataclass(slots=True)
class Slot:
    """Placeholder of a reference that is not known until its bundle is stored.

    :param ref: the reference, once it is known.
    :param delta: name, base and runs of a page delta whose pages are in the bundle.
    """

    ref: ChunkRef = None
    delta: tuple[str, str | Piece, tuple[tuple[int, int], ...]] | None = None

    def resolve(self, stored: Piece) -> None:
        """Set the reference, now that its content is stored as the piece *stored*."""
        if self.delta is None:
            self.ref = stored
        else:
            name, base, runs = self.delta
            self.ref = PageDelta(name, base, stored, runs)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A content that waits in the current bundle.

    :param offset: place in the bundle of *stored_bytes* bytes, which decode to *size_bytes*.
    """

    name: str
    offset: int
    stored_bytes: int
    size_bytes: int
    slot: Slot


class Bundler:
    """Collects encoded contents and stores them in bundles; may be shared by threads.

    The thread that fills a bundle stores it, so memory is bounded by one bundle per thread plus one.

    :param stored: called with the pieces of each bundle that was stored and read back.
    """

    def __init__(
        self,
        chunks: ChunkStore,
        *,
        stored: Callable[[Iterable[Piece]], None] = lambda pieces: None,
        bundle_bytes: int = BUNDLE_BYTES,
    ) -> None:
        self._chunks = chunks
        self._tell = stored
        self._bundle_bytes = bundle_bytes
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        # One buffer for all bundles: allocating and freeing thousands of pieces would fragment the heap.
        self._room = bytearray()
        self._used_bytes = 0
        self.stored_bytes = 0
        self.bundles = 0

    def add(self, name: str, encoded: bytes, size_bytes: int, slot: Slot) -> None:
        """Add an encoded content to the current bundle, and store the bundle if it is full.

        :param name: name of the content.
        :param size_bytes: decoded size of the content.
        :param slot: its reference is set when the bundle is stored, at the latest by :meth:`close`.
        :raises StoreFailed: a bundle did not read back.
        """
        with self._lock:
            begin, end = self._used_bytes, self._used_bytes + len(encoded)
            self._room[begin:end] = encoded
            self._used_bytes = end
            self._waiting.append(_Waiting(name, begin, len(encoded), size_bytes, slot))
            if end < self._bundle_bytes:
                return
            full = self._take()
        self._store(*full)

    def close(self) -> None:
        """Store the last, partly filled bundle."""
        with self._lock:
            rest = self._take()
        if rest[1]:
            self._store(*rest)

    def _take(self) -> tuple[bytes, list[_Waiting]]:
        data, waiting = bytes(memoryview(self._room)[: self._used_bytes]), self._waiting
        self._used_bytes, self._waiting = 0, []
        return data, waiting

    def _store(self, data: bytes, waiting: list[_Waiting]) -> None:
        bundle = self._put(self._chunks.codec.name(data), data, waiting)
        pieces = [Piece(w.name, bundle, w.offset, w.stored_bytes) for w in waiting]
        for each, piece in zip(waiting, pieces, strict=True):
            each.slot.resolve(piece)
        self._tell(pieces)

    def _put(self, name: str, data: bytes, waiting: list[_Waiting]) -> str:
        """Store a bundle, and return its reference once each of its pieces was read back."""
        bundle = place(
            self._chunks.store,
            "Bundle",
            name,
            data,
            path_of=bundle_path,
            read_back=lambda ref: self._read_back(ref, waiting),
            condemned=self._chunks.condemned,
        )
        if bundle.new:
            with self._lock:
                self.stored_bytes += len(data)
                self.bundles += 1
        return bundle.ref

    def _read_back(self, ref: str, waiting: list[_Waiting]) -> str:
        """Return what is wrong with the stored bundle; empty if each piece decodes to its content."""
        total_bytes = sum(w.stored_bytes for w in waiting)
        try:
            stored = self._chunks.store.get_range(bundle_path(ref), 0, total_bytes, uncached=True)
            for each in waiting:
                piece = stored[each.offset : each.offset + each.stored_bytes]
                self._chunks.codec.decode(piece, each.name, size_bytes=each.size_bytes)
        except ObjectMissing:
            return "it is missing"
        except CodecError as exc:
            return f"content {each.name}: {exc}"
        return ""


@dataclass(slots=True)
class _Range:
    lock: threading.Lock = field(default_factory=threading.Lock)
    data: bytes | None = None


class BundleReader:
    """Fetches pieces, and reads the needed range of each bundle by one request; may be shared by threads.

    :param ranges: bundle → begin and end of the needed range; see :func:`ranges_of`.
    :param keep: number of bundles kept in memory.
    :param uncached: read from the medium, not from a cache of this machine.
    """

    def __init__(
        self,
        store: ObjectStore,
        ranges: Mapping[str, tuple[int, int]],
        *,
        keep: int = 1,
        uncached: bool = False,
    ) -> None:
        self._store = store
        self._ranges = ranges
        self._keep = keep
        self._uncached = uncached
        self._lock = threading.Lock()
        self._held: OrderedDict[str, _Range] = OrderedDict()

    def fetch(self, piece: Piece) -> bytes:
        """Return the encoded bytes of *piece*; fewer if the bundle ends earlier.

        :raises ObjectMissing: the bundle does not exist.
        """
        begin, end = self._ranges.get(piece.bundle, (0, 0))
        if not begin <= piece.offset <= piece.offset + piece.stored_bytes <= end:
            return self._store.get_range(bundle_path(piece.bundle), piece.offset, piece.stored_bytes)
        with self._lock:
            held = self._held.setdefault(piece.bundle, _Range())
            self._held.move_to_end(piece.bundle)
            while len(self._held) > self._keep:
                self._held.popitem(last=False)
        with held.lock:
            if held.data is None:
                path = bundle_path(piece.bundle)
                held.data = self._store.get_range(path, begin, end - begin, uncached=self._uncached)
            data = held.data
        return data[piece.offset - begin : piece.offset - begin + piece.stored_bytes]


#: larger than any bundle that a writer makes; a forged offset must not make a reader request more at once
_MAX_RANGE_BYTES = 4 * BUNDLE_BYTES


def ranges_of(refs: Iterable[ChunkRef]) -> dict[str, tuple[int, int]]:
    """Return bundle → the range that holds all of its pieces in *refs*, unless it is larger than a bundle can be."""
    ranges: dict[str, tuple[int, int]] = {}
    for ref in refs:
        if ref is None or isinstance(ref, str):
            continue
        for leaf in leaves(ref):
            if isinstance(leaf, Piece):
                begin, end = ranges.get(leaf.bundle, (leaf.offset, leaf.offset))
                ranges[leaf.bundle] = (
                    min(begin, leaf.offset),
                    max(end, leaf.offset + leaf.stored_bytes),
                )
    return {b: (lo, hi) for b, (lo, hi) in ranges.items() if hi - lo <= _MAX_RANGE_BYTES}
