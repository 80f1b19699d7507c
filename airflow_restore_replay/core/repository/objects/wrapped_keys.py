"""Wrapped keys, ``keys/<key_id>.wrapped-<n>.json``: a repository's data key, encrypted by a key management service.

Generation 0 is made with the key; each later one holds the same key, wrapped again. The newest that unwraps counts.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec
from blake3 import blake3

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.repository.format.keyring import Key, Keyring
from airflow_restore_replay.core.repository.format.records import READABLE_FORMATS, Record
from airflow_restore_replay.core.repository.store.base import ObjectMissing, ObjectStore, ObjectTooLarge

_MAX_BYTES = 2**16
_PATH = re.compile(r"keys/([0-9a-f]{16})\.wrapped-(\d{1,6})\.json")


class WrappedKey(Record, frozen=True, kw_only=True):
    """Content of a wrapped key, which is no secret.

    :param kms: kind of the service, as the cluster file names it.
    :param kms_key: exact name of the service's key.
    :param wrapped: the data key, as the service has encrypted it.
    :param seal: hash of the statement that :func:`sealed_by` hashes, with the data key's key of seals; hex.
    """

    format: int
    key_id: str
    cluster: str
    generation: int
    kms: str
    kms_key: str
    wrapped: str
    made_at: datetime
    seal: str = ""

    @property
    def about(self) -> dict[str, str]:
        """Return what the service binds the data key to."""
        return about(self.cluster, self.key_id)


def about(cluster: str, key_id: str) -> dict[str, str]:
    """Return the purpose of a data key, which a service must be given to unwrap it."""
    return {"purpose": "restore-replay data key", "cluster": cluster, "key_id": key_id}


def wrapped_path(key_id: str, generation: int) -> str:
    """Return the name of a wrapped key."""
    return f"keys/{key_id}.wrapped-{generation}.json"


def wrapped_generations(store: ObjectStore) -> dict[str, list[int]]:
    """Return key id → generations of its wrapped keys, ascending."""
    found: dict[str, list[int]] = {}
    for info in store.list("keys/"):
        match = _PATH.fullmatch(info.path)
        if match and info.path == wrapped_path(match[1], int(match[2])):
            found.setdefault(match[1], []).append(int(match[2]))
    return {key_id: sorted(generations) for key_id, generations in found.items()}


def read_wrapped(store: ObjectStore, key_id: str, generation: int, cluster: str) -> WrappedKey:
    """Read a wrapped key; its seal is not checked yet.

    :raises ValueError: it is damaged, or of another key or cluster.
    """
    try:
        wrapped = decode(
            store.get_uncached(wrapped_path(key_id, generation), max_bytes=_MAX_BYTES), WrappedKey
        )
    except ObjectMissing:
        raise ValueError("it is missing") from None
    except (msgspec.DecodeError, ObjectTooLarge) as exc:
        raise ValueError(f"it is damaged: {exc}") from None
    if wrapped.format not in READABLE_FORMATS:
        raise ValueError(f"it has the unknown format {wrapped.format}")
    if (wrapped.key_id, wrapped.generation, wrapped.cluster) != (key_id, generation, cluster):
        raise ValueError("it is of another key, generation or cluster")
    return wrapped


def sealed_by(secret: bytes, wrapped: WrappedKey) -> WrappedKey:
    """Return *wrapped* with the seal that it must have.

    :param secret: the data key's key of seals.
    """
    lines = (
        wrapped.key_id,
        wrapped.cluster,
        str(wrapped.generation),
        wrapped.kms,
        wrapped.kms_key,
        wrapped.wrapped,
    )
    at = wrapped.made_at.isoformat()
    statement = "".join(f"{line}\n" for line in ("wrapped key", str(wrapped.format), *lines, at))
    return msgspec.structs.replace(wrapped, seal=blake3(statement.encode(), key=secret).hexdigest())


def is_sealed_by(secret: bytes, wrapped: WrappedKey) -> bool:
    """Return whether the seal of *wrapped* is right."""
    return hmac.compare_digest(sealed_by(secret, wrapped).seal.encode(), wrapped.seal.encode())


def store_wrapped(store: ObjectStore, key: Key, wrapped: WrappedKey) -> str:
    """Store a new wrapped key with its seal.

    :returns: its name.
    :raises AlreadyExists: that generation exists.
    """
    path = wrapped_path(wrapped.key_id, wrapped.generation)
    store.put_new(path, encode(sealed_by(key.records, wrapped)) + b"\n")
    return path


def wrapped_complaints(store: ObjectStore, cluster: str, keyring: Keyring) -> dict[str, str]:
    """Return name of a wrapped key → what is wrong with it, as far as the keys at hand can tell; no KMS is asked."""
    return dict(_complaints(store, cluster, keyring.record_keys))


def _complaints(
    store: ObjectStore, cluster: str, record_keys: Mapping[str, bytes]
) -> Iterator[tuple[str, str]]:
    for key_id, generations in wrapped_generations(store).items():
        for generation in range(generations[-1] + 1):
            try:
                wrapped = read_wrapped(store, key_id, generation, cluster)
            except ValueError as exc:
                yield wrapped_path(key_id, generation), str(exc)
                continue
            if key_id in record_keys and not is_sealed_by(record_keys[key_id], wrapped):
                yield wrapped_path(key_id, generation), "its seal is wrong: it was changed"
