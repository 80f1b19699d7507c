"""Seals: the second line of a record, which protects the first against damage and forgery.

A checksum finds damage. In an encrypted repository a keyed hash (MAC) also finds forgery: a record without a valid MAC
of a known key is not readable.
"""

from __future__ import annotations

import hmac

import msgspec
from blake3 import blake3

from airflow_restore_replay.core.repository.format.keyring import Keyring


class Seal(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Second line of a record.

    :param blake3: checksum of the record's first line.
    :param mac: keyed BLAKE3 of the record's first line.
    :param key_id: id of the key whose key of seals made *mac*.
    """

    blake3: str
    mac: str = ""
    key_id: str = ""


def checksum(body: bytes) -> str:
    """Return the checksum of a record's first line."""
    return blake3(body).hexdigest()


class Sealer:
    """Makes and checks seals.

    :param keyring: of an encrypted repository; without one, seals are checksums only.
    """

    def __init__(self, keyring: Keyring | None = None) -> None:
        self._keyring = keyring

    def seal(self, body: bytes) -> Seal:
        """Return the seal of a record's first line."""
        if self._keyring is None:
            return Seal(checksum(body))
        active = self._keyring.active
        return Seal(checksum(body), _mac(active.records, body), active.key_id)

    def complaint(self, body: bytes, seal: Seal) -> str:
        """Return what is wrong with the record; empty if its seal is valid."""
        observed = checksum(body)
        if seal.blake3 != observed:
            return f"its first line hashes to {observed}, its second says {seal.blake3}"
        if self._keyring is None:
            return f"it is sealed with key {seal.key_id}, and no key is configured" if seal.key_id else ""
        key = self._keyring.record_keys.get(seal.key_id)
        if not seal.key_id:
            return "it has no MAC, so its writer did not have a key"
        if key is None:
            return f"it is sealed with key {seal.key_id}, which is not available"
        if not hmac.compare_digest(_mac(key, body).encode(), seal.mac.encode()):
            return f"its seal is forged: it is not that of key {seal.key_id}"
        return ""


def _mac(key: bytes, body: bytes) -> str:
    return blake3(body, key=key).hexdigest()
