"""Key checks, ``keys/<key_id>.json``: which keys a repository knows, so that a wrong one is found before any work.

A key's check is a known text, encrypted with it for this very repository. It also holds, encrypted, the records keys
of all earlier keys: verdicts are kept for ever, and stay readable when an old key is given up with its last backup.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import KeyMissing, KeyRefused, StoreFailed
from airflow_restore_replay.core.repository.format.codec import NONCE_BYTES
from airflow_restore_replay.core.repository.format.keyring import Key, Keyring
from airflow_restore_replay.core.repository.format.records import FORMAT_VERSION, Record
from airflow_restore_replay.core.repository.objects.descriptor import Marker
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
)

LOG = logging.getLogger(__name__)
KNOWN_TEXT = b"restore-replay key check"
_MAX_BYTES = 2**20
_PATH = re.compile(r"keys/([0-9a-f]{16})\.json")


class KeyCheck(Record, frozen=True, kw_only=True):
    """:param check: the known text, encrypted; hex. :param records: earlier key's id → its records key, encrypted."""

    format: int
    key_id: str
    repository_id: str
    check: str
    records: dict[str, str] = {}


def key_path(key_id: str) -> str:
    return f"keys/{key_id}.json"


def known_keys(store: ObjectStore) -> set[str]:
    """:returns: ids of all keys that the repository was ever written with."""
    return {match[1] for info in store.list("keys/") if (match := _PATH.fullmatch(info.path))}


def open_keyring(store: ObjectStore, marker: Marker, keys: Sequence[str], *, write: bool) -> Keyring | None:
    """Check configured keys against a repository; nothing is written.

    :param keys: 64 hex digits each, the active one first; none: the repository should not be encrypted.
    :returns: the keys; None for a repository that is not encrypted.
    :raises KeyRefused: keys where none are needed, or the other way round, or wrong ones.
    """
    if marker.encryption is None and keys:
        raise KeyRefused(
            f"The repository {store.url} is not encrypted, and repository.encryption is configured.",
            hint="Encryption begins with a new repository: give another URL, or take the configuration back.",
        )
    if marker.encryption is None:
        return None
    if not keys:
        raise KeyRefused(
            f"The repository {store.url} is encrypted (first key {marker.encryption.key_id}), "
            "and no key is configured.",
            hint="Say where its key comes from: repository.encryption.key.",
        )
    keyring = Keyring.of(keys)
    passed = _read_checks(store, marker, keyring, strict=write)
    # The first key is known by the marker: a crash may have come between that and its check.
    if not passed and marker.encryption.key_id not in keyring.keys:
        known = ", ".join(sorted(known_keys(store) | {marker.encryption.key_id}))
        raise KeyRefused(
            f"Wrong key: the repository {store.url} has {known}; configured is {', '.join(keyring.keys)}.",
            hint="A new key needs the one before it under repository.encryption.previous.",
        )
    return keyring


def accept_active(store: ObjectStore, marker: Marker, keyring: Keyring) -> None:
    """Store the active key's check, unless it is there: from now on the repository knows the key."""
    path = key_path(keyring.active.key_id)
    if store.size(path) is not None:
        return
    key, repository_id = keyring.active, marker.repository_id
    check = KeyCheck(
        format=FORMAT_VERSION,
        key_id=key.key_id,
        repository_id=repository_id,
        check="",
        records={
            other: _encrypt(key, secret, _about("records", other, repository_id))
            for other, secret in keyring.record_keys.items()
            if other != key.key_id
        },
    )
    check = msgspec.structs.replace(check, check=_encrypt(key, KNOWN_TEXT, _about_check(check)))
    try:
        store.put_new(path, encode(check) + b"\n")
        LOG.info("The repository %s knows key %s from now on.", store.url, key.key_id)
    except AlreadyExists:
        LOG.info("Another run had key %s accepted at the same moment.", key.key_id)
    if not _read_checks(store, marker, Keyring(key, {key.key_id: key}), strict=True):
        raise StoreFailed(f"{path} was written to {store.url} and did not read back.")


def lost_keys(store: ObjectStore, keyring: Keyring, needed: Mapping[str, Sequence[str]]) -> None:
    """:param needed: key id → ids of the backups that need it, for all keys that are not at hand.

    :raises KeyMissing: a key that backups need, or that records are sealed with, is not at hand.
    """
    strangers = known_keys(store) - keyring.record_keys.keys()
    for key_id in sorted(strangers | needed.keys()):
        backups = ", ".join(sorted(needed.get(key_id, ())))
        raise KeyMissing(
            f"Key {key_id} of the repository {store.url} is not at hand; "
            + (f"these backups need it: {backups}." if backups else "others may be writing with it."),
            hint="Name its source under repository.encryption.previous. If it is lost, so are those backups: "
            "begin a new repository at another URL; this one stays readable with the keys there are.",
            evidence={"key_id": key_id, "backups": sorted(needed.get(key_id, ()))[:100]},
        )


def _read_checks(store: ObjectStore, marker: Marker, keyring: Keyring, *, strict: bool) -> list[KeyCheck]:
    """:returns: checks that the keys at hand pass.
    :raises KeyRefused: one of them is not what its key made; only if *strict*.
    """
    passed = []
    for key in keyring.keys.values():
        path = key_path(key.key_id)
        try:
            stored = store.get_uncached(path, max_bytes=_MAX_BYTES)
            check = decode(stored, KeyCheck)
            _examine(check, key, marker.repository_id, keyring.record_keys)
            passed.append(check)
        except ObjectMissing:
            continue
        except (ValueError, InvalidTag, ObjectTooLarge) as exc:
            what = str(exc) or "it does not decrypt"
            if strict:
                raise KeyRefused(
                    f"{path} in {store.url} does not pass as the check of key {key.key_id}: {what}.",
                    hint="The object is damaged or was replaced. Restores still work. Remove it: a run with a "
                    "key that the repository knows otherwise makes it anew.",
                ) from None
            # Every record and chunk proves by itself that the key is right.
            LOG.warning("%s in %s is damaged: %s", path, store.url, what)
    return passed


def _examine(check: KeyCheck, key: Key, repository_id: str, record_keys: dict[str, bytes]) -> None:
    """:param record_keys: gets those that *check* holds, as far as they decrypt.

    :raises ValueError: the check is not what its key made. :raises InvalidTag: likewise.
    """
    damaged = ""
    for other, stored in check.records.items():
        try:
            secret = _decrypt(key, stored, _about("records", other, repository_id))
            record_keys.setdefault(other, secret)
        except (ValueError, InvalidTag):
            damaged = f"its records key of {other} does not decrypt"
    if check.format != FORMAT_VERSION:
        raise ValueError(f"it has the unknown format {check.format}")
    if (check.key_id, check.repository_id) != (key.key_id, repository_id):
        raise ValueError("it is of another key or repository")
    if _decrypt(key, check.check, _about_check(check)) != KNOWN_TEXT or damaged:
        raise ValueError(damaged or "it holds another text")


def _about_check(check: KeyCheck) -> bytes:
    """:returns: associated data; with them it shows when one of the records keys was taken out."""
    return _about("check", check.key_id, check.repository_id, *sorted(check.records))


def _about(*words: str) -> bytes:
    return " ".join(words).encode()


def _encrypt(key: Key, text: bytes, about: bytes) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return (nonce + AESGCM(key.data).encrypt(nonce, text, about)).hex()


def _decrypt(key: Key, stored: str, about: bytes) -> bytes:
    raw = bytes.fromhex(stored)
    return AESGCM(key.data).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], about)
