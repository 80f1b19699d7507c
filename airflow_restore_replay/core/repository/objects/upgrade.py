"""``upgrade.json``: which objects of an encrypted repository were sealed as in format 1, before it was upgraded.

A seal of format 1 does not name its repository, so it would be valid in any that has the same key. In a repository that
was begun in format 1, such seals count for the objects that are listed here, and in one of format 2 for none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import ManifestCorrupt, RepositoryMismatch
from airflow_restore_replay.core.repository.format.keyring import Keyring
from airflow_restore_replay.core.repository.format.records import FORMAT_VERSION, Stamped, utc_now
from airflow_restore_replay.core.repository.format.seals import Seal, Sealer
from airflow_restore_replay.core.repository.objects.descriptor import Marker
from airflow_restore_replay.core.repository.objects.record_store import MAX_RECORD_BYTES, sealed, unsealed
from airflow_restore_replay.core.repository.objects.succession import FOLDERS, UPGRADE
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
)

LOG = logging.getLogger(__name__)


class Upgrade(Stamped, frozen=True, kw_only=True):
    """Content of ``upgrade.json``.

    :param sealed_before: names of the objects whose seals may be of format 1.
    """

    format: int
    repository_id: str
    at: datetime
    sealed_before: list[str]


def legacy_names(store: ObjectStore, marker: Marker, keyring: Keyring | None) -> Callable[[str], bool]:
    """Return whether an object of a given name may be sealed as in format 1; the answer is read when it is needed."""
    if marker.format > 1 or keyring is None:
        return lambda path: False
    sealer = Sealer(keyring, marker.repository_id)

    listed: list[frozenset[str]] = []

    def legacy(path: str) -> bool:
        # Before the upgrade, which another process may do at any time, all seals are of format 1.
        if not listed and (found := _sealed_before(store, sealer)) is not None:
            listed.append(found)
        return path in listed[0] if listed else True

    return legacy


def _sealed_before(store: ObjectStore, sealer: Sealer) -> frozenset[str] | None:
    try:
        return _read(store, sealer)
    except ObjectMissing:
        return None
    except (ManifestCorrupt, ObjectTooLarge, msgspec.DecodeError) as exc:
        LOG.warning("No seal of format 1 counts: %s in %s is damaged: %s", UPGRADE, store.url, exc)
        return frozenset()


def upgrade_complaint(store: ObjectStore, sealer: Sealer) -> str:
    """Return what is wrong with ``upgrade.json``; empty if nothing is, or if there is none."""
    try:
        _read(store, sealer)
    except ObjectMissing:
        return ""
    except (ManifestCorrupt, ObjectTooLarge, msgspec.DecodeError) as exc:
        return str(exc)
    return ""


def _read(store: ObjectStore, sealer: Sealer) -> frozenset[str]:
    body, _ = unsealed(store.get(UPGRADE, max_bytes=MAX_RECORD_BYTES), UPGRADE, sealer)
    return frozenset(decode(body, Upgrade).sealed_before)


def record_upgrade(store: ObjectStore, marker: Marker, sealer: Sealer) -> None:
    """Upgrade an encrypted repository of format 1, once: list what is sealed as in that format.

    :raises RepositoryMismatch: it was upgraded before, and the list is gone.
    """
    if marker.format > 1 or store.size(UPGRADE) is not None:
        return
    before = sorted(info.path for folder in (*FOLDERS, "leases") for info in store.list(f"{folder}/"))
    if newer := next((path for path in before if _is_newer(store, path)), None):
        raise RepositoryMismatch(
            f"{UPGRADE} is missing in {store.url}, and {newer} was written after it.",
            hint=f"Put back {UPGRADE}: without it, records of another repository could pass for this one's.",
        )
    upgrade = Upgrade(
        format=FORMAT_VERSION, repository_id=marker.repository_id, at=utc_now(), sealed_before=before
    )
    try:
        store.put_new(UPGRADE, sealed(encode(upgrade), sealer, UPGRADE))
        LOG.info("The repository %s has format 2 from now on.", store.url)
    except AlreadyExists:
        LOG.info("Another run upgraded the repository %s at the same moment.", store.url)


def _is_newer(store: ObjectStore, path: str) -> bool:
    try:
        second = store.get(path, max_bytes=MAX_RECORD_BYTES).split(b"\n", 2)[1]
        return bool(decode(second, Seal).seal)
    except (ObjectMissing, ObjectTooLarge, IndexError, msgspec.DecodeError):
        return False
