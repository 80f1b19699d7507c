"""Create content-addressed objects and prove that they read back; no object is ever overwritten.

If the stored object of a name is damaged, correct content is stored beside it as the next *generation* of the name.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

from airflow_restore_replay.core.errors import StoreFailed
from airflow_restore_replay.core.repository.format.refs import MAX_GENERATIONS, make_ref
from airflow_restore_replay.core.repository.store.base import AlreadyExists, ObjectStore


@dataclass(frozen=True)
class Placed:
    """Result of :func:`place`.

    :param ref: reference of an object that reads back.
    :param new: whether this call created it.
    """

    ref: str
    new: bool


def place(
    store: ObjectStore,
    what: str,
    name: str,
    encoded: bytes,
    *,
    path_of: Callable[[str], str],
    read_back: Callable[[str], str],
    condemned: Container[str],
) -> Placed:
    """Store *encoded* under *name*, unless a generation of it exists that reads back.

    The lowest generation is used that is not condemned and is free or reads back.

    :param what: kind of object for messages: ``Chunk``, ``Bundle``, ``List``.
    :param read_back: reads the object of a reference past all caches, and returns what is wrong with it, or ``""``.
    :param condemned: names of objects that may be deleted at any time, and so are not referenced.
    :raises StoreFailed: the object just written does not read back, or every generation is damaged.
    """
    for generation in range(MAX_GENERATIONS):
        ref = make_ref(name, generation)
        if path_of(ref) in condemned:
            continue
        try:
            store.put_new(path_of(ref), encoded)
            new = True
        except AlreadyExists:
            new = False
        fault = read_back(ref)
        if not fault:
            return Placed(ref, new)
        if new:
            raise StoreFailed(
                f"{what} {ref} was written to {store.url} and did not read back: {fault}",
                hint="The store lost or changed bytes within seconds; nothing was published.",
            )
    raise StoreFailed(
        f"All {MAX_GENERATIONS} generations of {what.lower()} {name} are damaged in {store.url}.",
        hint="The store damages stored objects; check its medium.",
    )
