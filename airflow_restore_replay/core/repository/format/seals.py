"""Seals: the second line of a record, which protects the first against damage, forgery and use in another place.

A checksum finds damage. The seal is a hash of the record, the repository's id, the object's name, and the names of
records that were stored before. In an encrypted repository it is keyed, so that it also finds forgery: a record without
a valid seal of a known key is not readable.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

import msgspec
from blake3 import blake3

from airflow_restore_replay.core.repository.format.keyring import Keyring


class Seal(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Second line of a record.

    :param blake3: checksum of the record's first line.
    :param mac: keyed BLAKE3 of the first line, in format 1.
    :param key_id: id of the key whose key of seals made *mac* or *seal*.
    :param seal: BLAKE3 of :func:`statement`, keyed in an encrypted repository.
    :param after: names of records that were stored before, so that their loss is noticed.
    :param also: id of each earlier key → the same seal with that key, for readers that have only an earlier one.
    """

    blake3: str
    mac: str = ""
    key_id: str = ""
    seal: str = ""
    after: list[str] = []
    also: dict[str, str] = {}


def checksum(body: bytes) -> str:
    """Return the checksum of a record's first line."""
    return blake3(body).hexdigest()


def statement(body: bytes, repository_id: str, path: str, after: Sequence[str]) -> bytes:
    """Return the text that a seal is the hash of: four lines, of which the first is the record."""
    return b"%s\n%s\n%s\n%s\n" % (body, repository_id.encode(), path.encode(), " ".join(after).encode())


class Sealer:
    """Makes and checks seals.

    :param keyring: of an encrypted repository; without one, seals find damage only.
    :param repository_id: of the repository; without one, the second line is only a checksum.
    :param legacy: whether an object of that name may have been sealed as in format 1.
    """

    def __init__(
        self,
        keyring: Keyring | None = None,
        repository_id: str = "",
        legacy: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self._keyring = keyring
        self._repository_id = repository_id
        self._legacy = legacy

    @property
    def binds(self) -> bool:
        """Return whether seals bind records to a repository, and so to the records before them."""
        return bool(self._repository_id)

    def seal(self, body: bytes, path: str = "", after: Sequence[str] = (), key_id: str = "") -> Seal:
        """Return the seal of a record's first line.

        :param path: name of the object.
        :param after: names of records that are stored already.
        :param key_id: key to seal with, if it is known; else the active one.
        """
        if not self._repository_id:
            return Seal(checksum(body))
        text = statement(body, self._repository_id, path, after)
        if self._keyring is None:
            return Seal(checksum(body), seal=checksum(text), after=list(after))
        keys = self._keyring.record_keys
        key_id = key_id if key_id in keys else self._keyring.active.key_id
        macs = {other: _mac(key, text) for other, key in keys.items()}
        return Seal(checksum(body), key_id=key_id, seal=macs.pop(key_id), after=list(after), also=macs)

    def vouches(self, body: bytes, seal: Seal, path: str) -> bool:
        """Return whether an earlier key, which is known, has sealed the record beside the key that is not."""
        if self._keyring is None or not seal.seal:
            return self._legacy(path)
        text = statement(body, self._repository_id, path, seal.after)
        known = {key_id: key for key_id, key in self._keyring.record_keys.items() if key_id in seal.also}
        return any(
            hmac.compare_digest(_mac(k, text).encode(), seal.also[i].encode()) for i, k in known.items()
        )

    def complaint(self, body: bytes, seal: Seal, path: str) -> str:
        """Return what is wrong with the record; empty if its seal is valid."""
        observed = checksum(body)
        if seal.blake3 != observed:
            return f"its first line hashes to {observed}, its second says {seal.blake3}"
        text = statement(body, self._repository_id, path, seal.after)
        if self._keyring is None:
            return self._plain_complaint(seal, text)
        key = self._keyring.record_keys.get(seal.key_id)
        if not seal.key_id:
            return "it has no MAC, so its writer did not have a key"
        if key is None:
            return f"it is sealed with key {seal.key_id}, which is not available"
        expected, found = (_mac(key, text), seal.seal) if seal.seal else (_mac(key, body), seal.mac)
        if not hmac.compare_digest(expected.encode(), found.encode()):
            return f"its seal is forged: it is not that of key {seal.key_id} for this object and repository"
        if not seal.seal and (seal.after or not self._legacy(path)):
            return "it is sealed as in format 1, which counts only for records from before the upgrade to format 2"
        return ""

    def bare_complaint(self, path: str) -> str:
        """Return what is wrong with an object that has no second line, as leases had none in format 1."""
        if self._keyring is None or self._legacy(path):
            return ""
        return "it has no seal, so its writer did not have a key"

    def _plain_complaint(self, seal: Seal, text: bytes) -> str:
        if seal.key_id:
            return f"it is sealed with key {seal.key_id}, and no key is configured"
        if self._repository_id and (seal.seal or seal.after) and seal.seal != checksum(text):
            return "its second line is damaged, or that of another object or repository"
        return ""


def _mac(key: bytes, text: bytes) -> str:
    return blake3(text, key=key).hexdigest()
