"""Key checks, ``keys/<key_id>.json``: the keys that a repository accepts, so that a wrong key is found before any work.

A key check is a known text, encrypted with its key for this repository only. It also holds, encrypted, the records keys
of all earlier keys. Verdicts are kept for ever, and so remain readable after an old key and its last backup are gone.
"""

from __future__ import annotations

import hmac
import logging
import os
import re
from collections.abc import Mapping, Sequence

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import KeyMissing, KeyRefused, RepositoryMismatch, StoreFailed
from airflow_restore_replay.core.repository.format.codec import NONCE_BYTES
from airflow_restore_replay.core.repository.format.keyring import Key, Keyring
from airflow_restore_replay.core.repository.format.records import READABLE_FORMATS, Record
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
    """Content of a key check.

    :param check: the known text, encrypted; hex.
    :param records: id of each earlier key → its records key, encrypted; hex.
    :param also: id of each earlier key → proof that its holder accepted this key, for those who have no later one.
    """

    format: int
    key_id: str
    repository_id: str
    check: str
    records: dict[str, str] = {}
    also: dict[str, str] = {}


def key_path(key_id: str) -> str:
    """Return the name of a key check."""
    return f"keys/{key_id}.json"


def known_keys(store: ObjectStore) -> set[str]:
    """Return ids of all keys that the repository has a key check of."""
    return {match[1] for info in store.list("keys/") if (match := _PATH.fullmatch(info.path))}


def open_keyring(store: ObjectStore, marker: Marker, keys: Sequence[str], *, write: bool) -> Keyring | None:
    """Check the configured keys against a repository, without writing to it.

    :param keys: 64 hex digits each, the active one first; empty if the repository should not be encrypted.
    :returns: the keys; None for a repository that is not encrypted.
    :raises KeyRefused: keys are wrong, or given for a repository without encryption, or missing for an encrypted one.
    """
    if marker.encryption is None and keys:
        raise KeyRefused(
            f"The repository {store.url} is not encrypted, and repository.encryption is configured.",
            hint="Only a new repository can be encrypted: give another URL, or remove repository.encryption.",
        )
    if marker.encryption is None:
        return None
    if not keys:
        raise KeyRefused(
            f"The repository {store.url} is encrypted (first key {marker.encryption.key_id}), "
            "and no key is configured.",
            hint="Name the source of its key in repository.encryption.key.",
        )
    keyring = Keyring.of(keys)
    passed = _read_checks(store, marker, keyring, strict=write)
    # The marker names the first key as well: a crash may have prevented the write of its key check.
    if not passed and marker.encryption.key_id not in keyring.keys:
        known = ", ".join(sorted(known_keys(store) | {marker.encryption.key_id}))
        raise KeyRefused(
            f"Wrong key: the repository {store.url} has {known}; configured is {', '.join(keyring.keys)}.",
            hint="A new key needs the one before it under repository.encryption.previous.",
        )
    return keyring


def accept_active(store: ObjectStore, marker: Marker, keyring: Keyring) -> None:
    """Store the key check of the active key if it is missing, so that the repository accepts the key from now on."""
    path = key_path(keyring.active.key_id)
    if store.size(path) is not None:
        return
    key, repository_id = keyring.active, marker.repository_id
    check = KeyCheck(
        format=marker.format,
        key_id=key.key_id,
        repository_id=repository_id,
        check="",
        records={
            other: _encrypt(key, secret, _about("records", other, repository_id))
            for other, secret in keyring.record_keys.items()
            if other != key.key_id
        },
        also={
            other: _accepted(secret, key.key_id, repository_id)
            for other, secret in keyring.record_keys.items()
            if other != key.key_id
        },
    )
    check = msgspec.structs.replace(check, check=_encrypt(key, KNOWN_TEXT, _about_check(check)))
    try:
        store.put_new(path, encode(check) + b"\n")
        LOG.info("The repository %s accepts key %s from now on.", store.url, key.key_id)
    except AlreadyExists:
        LOG.info("Another run registered key %s at the same moment.", key.key_id)
    if not _read_checks(store, marker, Keyring(key, {key.key_id: key}), strict=True):
        raise StoreFailed(f"{path} was written to {store.url} and did not read back.")


def refuse_lost_keys(
    store: ObjectStore,
    repository_id: str,
    keyring: Keyring,
    needed: Mapping[str, Sequence[str]],
    logs: Mapping[str, Sequence[str]],
) -> None:
    """Raise if a needed key is not available.

    A key check that no available key opens, and no available key vouches for, says nothing: anybody who can create
    objects can make one.

    :param needed: key id → ids of the backups that need it, for all keys that are not available.
    :param logs: key id → names of the archived binary logs that need it, likewise.
    :raises KeyMissing: a key that backups or logs need, or that manifests are sealed with, is not available.
    """
    strangers = known_keys(store) - keyring.record_keys.keys()
    vouched = {key_id for key_id in strangers if _is_vouched_for(store, key_id, repository_id, keyring)}
    for key_id in sorted(vouched | needed.keys() | logs.keys()):
        backups, lost = sorted(needed.get(key_id, ())), logs.get(key_id, ())
        raise KeyMissing(
            f"Key {key_id} of the repository {store.url} is not available; "
            + (
                f"these backups need it: {', '.join(backups)}."
                if backups
                else f"these archived binary logs need it: {', '.join(lost[:100])}."
                if lost
                else "others may be writing with it."
            ),
            hint="Name its source under repository.encryption.previous. If it is lost, so are those backups: "
            "begin a new repository at another URL; this one stays readable with the keys that remain. If no "
            "run of yours made these backups, their manifests are forged: remove them.",
            evidence={"key_id": key_id, "backups": backups[:100]},
        )
    for key_id in sorted(strangers):
        LOG.warning("%s in %s is of no key at hand, and none vouches for it.", key_path(key_id), store.url)


def _is_vouched_for(store: ObjectStore, key_id: str, repository_id: str, keyring: Keyring) -> bool:
    """Return whether the holder of a key at hand accepted the key."""
    try:
        check = decode(store.get_uncached(key_path(key_id), max_bytes=_MAX_BYTES), KeyCheck)
    except (ObjectMissing, ObjectTooLarge, msgspec.DecodeError):
        return False
    return any(
        hmac.compare_digest(_accepted(secret, key_id, repository_id).encode(), check.also[other].encode())
        for other, secret in keyring.record_keys.items()
        if other in check.also
    )


def _accepted(secret: bytes, key_id: str, repository_id: str) -> str:
    return blake3(_about("accepted", key_id, repository_id), key=secret).hexdigest()


def check_complaint(store: ObjectStore, key_id: str, repository_id: str, keyring: Keyring) -> str:
    """Return what is wrong with the key check of a key; empty if nothing is, as far as the keys at hand can tell."""
    try:
        check = decode(store.get_uncached(key_path(key_id), max_bytes=_MAX_BYTES), KeyCheck)
        if key := keyring.keys.get(key_id):
            _examine(check, key, repository_id, dict(keyring.record_keys))
        elif (check.key_id, check.repository_id) != (key_id, repository_id):
            return "it is of another key or repository"
    except ObjectMissing:
        return "it is missing"
    except (ValueError, InvalidTag, ObjectTooLarge) as exc:
        return str(exc) or "it does not decrypt"
    return ""


def _read_checks(store: ObjectStore, marker: Marker, keyring: Keyring, *, strict: bool) -> list[KeyCheck]:
    """Return the key checks that the available keys pass.

    :raises KeyRefused: a key check was not made by its key; only if *strict*.
    """
    passed = []
    for key in keyring.keys.values():
        path = key_path(key.key_id)
        try:
            stored = store.get_uncached(path, max_bytes=_MAX_BYTES)
            check = decode(stored, KeyCheck)
            _examine(check, key, marker.repository_id, keyring.record_keys)
            if check.format != marker.format:
                raise RepositoryMismatch(
                    f"repository.json in {store.url} says format {marker.format}, and {path} format {check.format}: "
                    "one of them was replaced.",
                    hint="Put back the original repository.json; backups are read and written only then.",
                )
            passed.append(check)
        except ObjectMissing:
            continue
        except (ValueError, InvalidTag, ObjectTooLarge) as exc:
            what = str(exc) or "it does not decrypt"
            if strict:
                raise KeyRefused(
                    f"{path} in {store.url} is not a valid check of key {key.key_id}: {what}.",
                    hint="The object is damaged or was replaced. Restores still work. Remove it: a run whose "
                    "keys the repository accepts by another key check creates it again.",
                ) from None
            # A reader does not need the check: every record and chunk proves that the key is right.
            LOG.warning("%s in %s is damaged: %s", path, store.url, what)
    return passed


def _examine(check: KeyCheck, key: Key, repository_id: str, record_keys: dict[str, bytes]) -> None:
    """Raise unless *check* was made by *key* for this repository.

    :param record_keys: the records keys in *check* are added to it, as far as they decrypt.
    :raises ValueError, InvalidTag: the check was not made by its key.
    """
    damaged = ""
    for other, stored in check.records.items():
        try:
            secret = _decrypt(key, stored, _about("records", other, repository_id))
            record_keys.setdefault(other, secret)
        except (ValueError, InvalidTag):
            damaged = f"its records key of {other} does not decrypt"
    if check.format not in READABLE_FORMATS:
        raise ValueError(f"it has the unknown format {check.format}")
    if (check.key_id, check.repository_id) != (key.key_id, repository_id):
        raise ValueError("it is of another key or repository")
    if _decrypt(key, check.check, _about_check(check)) != KNOWN_TEXT or damaged:
        raise ValueError(damaged or "it holds another text")


def _about_check(check: KeyCheck) -> bytes:
    """Return the associated data of a check, which reveals if a records key was removed from it."""
    if check.format == 1:
        return _about("check", check.key_id, check.repository_id, *sorted(check.records))
    also = (word for pair in sorted(check.also.items()) for word in pair)
    return _about("check 2", check.key_id, check.repository_id, *sorted(check.records), *also)


def _about(*words: str) -> bytes:
    return " ".join(words).encode()


def _encrypt(key: Key, text: bytes, about: bytes) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return (nonce + AESGCM(key.data).encrypt(nonce, text, about)).hex()


def _decrypt(key: Key, stored: str, about: bytes) -> bytes:
    raw = bytes.fromhex(stored)
    return AESGCM(key.data).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], about)
