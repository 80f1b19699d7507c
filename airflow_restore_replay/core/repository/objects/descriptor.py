"""``repository.json``: the cluster that a repository belongs to, and whether it is encrypted."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import ManifestCorrupt, RepositoryMismatch, RestoreReplayError
from airflow_restore_replay.core.repository.format.entries import check_chunk_size
from airflow_restore_replay.core.repository.format.keyring import SCHEME
from airflow_restore_replay.core.repository.format.records import (
    FORMAT_VERSION,
    READABLE_FORMATS,
    LogPiece,
    Manifest,
    Record,
    Stamped,
    Verdict,
    utc_now,
)
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES
from airflow_restore_replay.core.repository.objects.record_store import FOLDERS, sealed, unsealed
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
    prove_conditional_create,
)

LOG = logging.getLogger(__name__)
MARKER = "repository.json"


class EncryptionMark(Record, frozen=True, kw_only=True):
    """Encryption of a repository.

    :param key_id: id of the first key, which the repository accepts without a key check.
    """

    scheme: str
    key_id: str


class Marker(Stamped, frozen=True, kw_only=True):
    """Content of ``repository.json``, which is written once and never changes."""

    format: int
    cluster: str
    repository_id: str
    chunk_size_bytes: int
    created_at: datetime
    encryption: EncryptionMark | None = None


def opened_for_writing(store: ObjectStore, cluster: str, key_id: str) -> Marker:
    """Read or create the marker, and prove that the store supports conditional creates.

    :param key_id: id of the first key of a new repository; empty if it is not encrypted.
    :raises RepositoryMismatch: the marker is missing, but there are records.
    :raises StoreUnsafe: the store replaces objects.
    """
    try:
        marker, stored = _decoded_marker(store)
    except ObjectMissing:
        if _has_records(store):
            read_marker(store)  # raises, unless another run has just created the repository
        else:
            _create_marker(store, cluster, key_id)
        marker, stored = _decoded_marker(store)
    prove_conditional_create(store, MARKER, stored)
    return marker


def _create_marker(store: ObjectStore, cluster: str, key_id: str) -> None:
    fresh = Marker(
        format=FORMAT_VERSION,
        cluster=cluster,
        repository_id=secrets.token_hex(16),
        chunk_size_bytes=CHUNK_SIZE_BYTES,
        created_at=utc_now(),
        encryption=EncryptionMark(scheme=SCHEME, key_id=key_id) if key_id else None,
    )
    try:
        store.put_new(MARKER, sealed(encode(fresh)))
    except AlreadyExists:
        LOG.info("Another run created the repository %s at the same moment.", store.url)


def proven_marker(store: ObjectStore) -> Marker | None:
    """Return the marker, or None if there is none, and prove that the store supports conditional creates.

    :raises StoreUnsafe: the store replaces objects.
    """
    try:
        marker, stored = _decoded_marker(store)
    except ObjectMissing:
        return None
    prove_conditional_create(store, MARKER, stored)
    return marker


def read_marker(store: ObjectStore) -> Marker:
    """Read the marker.

    :raises RepositoryMismatch: there is no repository, or one of an unknown format.
    """
    try:
        return _decoded_marker(store)[0]
    except ObjectMissing:
        if _has_records(store):
            raise RepositoryMismatch(
                f"{MARKER} is missing in {store.url}, which has records of backups.",
                hint=f"Restore {MARKER} from the store's versions or from a copy of the repository: records are "
                "checked by the id in it.",
            ) from None
        raise RepositoryMismatch(
            f"There is no repository at {store.url}: {MARKER} is missing.",
            hint="Check repository.url; the first cycle creates the repository.",
        ) from None


def _has_records(store: ObjectStore) -> bool:
    return any(True for kind in (Manifest, Verdict, LogPiece) for _ in store.list(f"{FOLDERS[kind][0]}/"))


def _decoded_marker(store: ObjectStore) -> tuple[Marker, bytes]:
    try:
        stored = store.get_uncached(MARKER, max_bytes=2**16)
        marker = decode(stored.partition(b"\n")[0], Marker)
        if marker.format not in READABLE_FORMATS:
            known = " or ".join(map(str, READABLE_FORMATS))
            raise RepositoryMismatch(
                f"The repository {store.url} has format {marker.format}, not {known}.",
                hint="Use a newer release.",
            )
        if marker.encryption and marker.encryption.scheme != SCHEME:
            raise RepositoryMismatch(
                f"The repository {store.url} is encrypted by {marker.encryption.scheme!r}, not {SCHEME!r}.",
                hint="Use a newer release.",
            )
        unsealed(stored, MARKER)
        check_chunk_size(marker.chunk_size_bytes)
    except (msgspec.DecodeError, ObjectTooLarge, ManifestCorrupt) as exc:
        text = exc.message if isinstance(exc, RestoreReplayError) else str(exc)
        raise RepositoryMismatch(f"{MARKER} in {store.url} does not describe a repository: {text}") from exc
    return marker, stored
