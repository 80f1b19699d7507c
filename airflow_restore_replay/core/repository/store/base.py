"""The object store interface: raw bytes under names, created once and never rewritten.

A store does not know the meaning of its bytes. :class:`AlreadyExists`, :class:`ObjectMissing` and
:class:`ObjectTooLarge` are facts; only the layer above knows whether they are evidence against a backup.
Faults of the store itself (no answer, no space, no permission) are
:class:`~airflow_restore_replay.core.errors.StoreFailed` or ``StoreFull`` and blame the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

import msgspec

from airflow_restore_replay.core.errors import StoreUnsafe


class StoreFact(Exception):
    """A fact about an object, which its caller judges.

    :param path: the object's name.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class AlreadyExists(StoreFact):
    """A conditional create found an object of that name."""


class ObjectMissing(StoreFact):
    """There is no object of that name, although the store itself is available."""


class ObjectTooLarge(StoreFact):
    """The object has more bytes than the reader accepts."""


class ObjectInfo(msgspec.Struct, frozen=True, gc=False):
    """An object as listed; listings have millions, so these are cheap to create and exempt from garbage collection.

    :param path: name relative to the store's URL.
    """

    path: str
    size_bytes: int
    modified: datetime


class ObjectStore(Protocol):
    """A store of write-once objects, whose methods may be called from several threads.

    Every method raises ``StoreFailed`` if the store still fails after bounded retries.
    """

    @property
    def url(self) -> str:
        """Return the store's address, without credentials."""
        ...

    def put_new(self, path: str, data: bytes) -> None:
        """Create an object durably; readers see all of it or nothing.

        :raises AlreadyExists: an object of that name exists. An earlier try of this same call, whose answer was lost,
            may have created it: see :func:`create_or_same`.
        :raises StoreFull: there is no space.
        """
        ...

    def get(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """Read an object.

        :raises ObjectMissing: the object does not exist.
        :raises ObjectTooLarge: it has more than *max_bytes*, which is also the most that is held in memory.
        """
        ...

    def get_uncached(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """Read an object like :meth:`get`, but from the medium, not from a cache of this machine."""
        ...

    def get_range(self, path: str, offset: int, size_bytes: int, *, uncached: bool = False) -> bytes:
        """Read a part of an object.

        :returns: *size_bytes* bytes from *offset* on, or fewer if the object ends earlier.
        :raises ObjectMissing: the object does not exist.
        """
        ...

    def size(self, path: str) -> int | None:
        """Return the object's size, or None if it does not exist."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects below the folder *prefix*, in no particular order."""
        ...

    def delete(self, path: str) -> None:
        """Delete an object; a missing object is no error.

        :raises StoreDenied: the object is locked, or the credentials lack the right to delete.
        """
        ...

    def leftovers(self) -> Iterator[ObjectInfo]:
        """Yield remains of interrupted creates, which are not objects, but which :meth:`delete` removes."""
        ...


def prove_conditional_create(store: ObjectStore, path: str, stored: bytes) -> None:
    """Prove that the store refuses to replace objects, by creating *path* again with the bytes that it has.

    A store that does replace it loses nothing.

    :raises StoreUnsafe: the object was replaced.
    """
    try:
        store.put_new(path, stored)
    except AlreadyExists:
        return
    raise StoreUnsafe(
        f"The store {store.url} replaced an existing object in spite of the condition If-None-Match: *.",
        hint="Two runs could overwrite each other; use a store, or a proxy in front of it, that supports it.",
    )


def create_or_same(store: ObjectStore, path: str, data: bytes) -> bool:
    """Create *path*, unless it exists with the same bytes.

    A create whose answer was lost is retried, and then finds its own object.

    :returns: whether this call created the object, as far as that can be known.
    :raises AlreadyExists: the object exists with other bytes.
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
    """Return the components of an object's name.

    :raises ValueError: it is absolute, empty, or has components such as ``..``.
    """
    parts = tuple(path.split("/"))
    if "\0" in path or not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"not a relative object name: {path!r}")
    return parts
