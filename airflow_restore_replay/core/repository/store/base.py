"""The object store seam: raw bytes under names, created once, never rewritten.

What stored bytes mean is not known here: :class:`AlreadyExists`, :class:`ObjectMissing` and
:class:`ObjectTooLarge` are facts, and only the layer above knows whether they are evidence against a backup.
Everything that is a fault of the store itself (no answer, no space, no permission) is
:class:`~airflow_restore_replay.core.errors.StoreFailed` or ``StoreFull`` and blames the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import Protocol

import msgspec

from airflow_restore_replay.core.errors import StoreUnsafe


class StoreFact(Exception):
    """:param path: the object's name."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class AlreadyExists(StoreFact):
    """A conditional create found an object of that name."""


class ObjectMissing(StoreFact):
    """There is no object of that name, and the store itself is there."""


class ObjectTooLarge(StoreFact):
    """The object has more bytes than the reader allows for."""


class ObjectInfo(msgspec.Struct, frozen=True, gc=False):
    """:param path: relative to the store's URL.

    Listings have millions, so these are cheap to make and of no concern to the garbage collector.
    """

    path: str
    size_bytes: int
    modified: datetime


class ObjectStore(Protocol):
    """Write-once objects. All methods may be called from several threads.

    Every method raises ``StoreFailed`` when the store does not do its work, after bounded retries.
    """

    @property
    def url(self) -> str:
        """:returns: the store's address, without credentials."""
        ...

    def put_new(self, path: str, data: bytes) -> None:
        """Create an object durably; readers see all of it or nothing.

        :raises AlreadyExists: also when an earlier try of this very call succeeded but its answer was lost:
            see :func:`create_or_same`.
        :raises StoreFull: there is no space.
        """
        ...

    def get(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """:raises ObjectMissing: no such object.

        :raises ObjectTooLarge: it has more than *max_bytes*; not more than that is ever held in memory.
        """
        ...

    def get_uncached(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """Like :meth:`get`, but from the medium, not from a cache of this machine."""
        ...

    def get_range(self, path: str, offset: int, size_bytes: int, *, uncached: bool = False) -> bytes:
        """Read a part of an object.

        :returns: *size_bytes* bytes from *offset* on, or fewer where the object ends before.
        :raises ObjectMissing: no such object.
        """
        ...

    def size(self, path: str) -> int | None:
        """:returns: the object's size, or None when there is none."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """:returns: all objects below the folder *prefix*, in no particular order."""
        ...

    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is no error.

        :raises StoreDenied: it is locked, or the credentials may not delete.
        """
        ...

    def leftovers(self) -> Iterator[ObjectInfo]:
        """:returns: what interrupted creates left behind; no objects, but :meth:`delete` removes them."""
        ...


def prove_conditional_create(store: ObjectStore, path: str, stored: bytes) -> None:
    """Create *path* again, with the bytes it has: a sound store refuses, an unsound one loses nothing.

    :raises StoreUnsafe: it was replaced.
    """
    try:
        store.put_new(path, stored)
    except AlreadyExists:
        return
    raise StoreUnsafe(
        f"The store {store.url} replaced an existing object although it was told not to (If-None-Match: *).",
        hint="Two runs could overwrite each other; use a store, or a proxy in front of it, that honours it.",
    )


def create_or_same(store: ObjectStore, path: str, data: bytes) -> bool:
    """Create *path* unless the very same bytes are there already.

    A create whose answer was lost on the way is retried and then finds its own object.

    :returns: whether this call created it, as far as can be known.
    :raises AlreadyExists: other bytes are there.
    """
    try:
        store.put_new(path, data)
    except AlreadyExists:
        try:
            if store.get_uncached(path, max_bytes=len(data)) == data:
                return False
        except (ObjectTooLarge, ObjectMissing):
            pass
        raise
    return True


def safe_parts(path: str) -> tuple[str, ...]:
    """:returns: the components of an object's name.

    :raises ValueError: it is absolute, empty, or has components such as ``..``.
    """
    parts = PurePosixPath(path).parts
    if not parts or "/".join(parts) != path or path.startswith("/") or "\0" in path or ".." in parts:
        raise ValueError(f"not a relative object name: {path!r}")
    return parts
