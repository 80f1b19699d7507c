"""Seals: the second line of a record, which says whether the first is what was written, and by whom.

A checksum finds damage. In an encrypted repository a keyed hash also finds forgery: without a valid one of a known key,
a record is not readable.
"""

from __future__ import annotations

import hmac

import msgspec
from blake3 import blake3

from airflow_restore_replay.core.repository.format.keyring import Keyring


class Seal(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """:param mac: keyed BLAKE3 of the record's first line. :param key_id: whose records key it is."""

    blake3: str
    mac: str = ""
    key_id: str = ""


def checksum(body: bytes) -> str:
    """:returns: the checksum of a record's first line."""
    return blake3(body).hexdigest()


class Sealer:
    """Makes and checks seals.

    :param keyring: of an encrypted repository; None: there is nothing but checksums.
    """

    def __init__(self, keyring: Keyring | None = None) -> None:
        self._keyring = keyring

    def seal(self, body: bytes) -> Seal:
        if self._keyring is None:
            return Seal(checksum(body))
        active = self._keyring.active
        return Seal(checksum(body), _mac(active.records, body), active.key_id)

    def complaint(self, body: bytes, seal: Seal) -> str:
        """:returns: what is wrong with the record; empty when it is as it was written."""
        observed = checksum(body)
        if seal.blake3 != observed:
            return f"its first line hashes to {observed}, its second says {seal.blake3}"
        if self._keyring is None:
            return f"it is sealed with key {seal.key_id}, and no key is configured" if seal.key_id else ""
        key = self._keyring.record_keys.get(seal.key_id)
        if not seal.key_id:
            return "it has no seal of a key: nobody who has one wrote it"
        if key is None:
            return f"it is sealed with key {seal.key_id}, which is not at hand"
        if not hmac.compare_digest(_mac(key, body).encode(), seal.mac.encode()):
            return f"its seal is forged: it is not that of key {seal.key_id}"
        return ""


def _mac(key: bytes, body: bytes) -> str:
    return blake3(body, key=key).hexdigest()
