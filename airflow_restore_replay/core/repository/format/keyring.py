"""Keys of an encrypted repository: the values derived from each, and the set of available keys.

From a key of 32 bytes, BLAKE3 derives by context strings its id and sub-keys: for the names of contents, for the
contents themselves, for key checks, and for the seals of records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

SCHEME = "aes-256-gcm+blake3"
_CONTEXT = "airflow-restore-replay format {} {}"


def derive(secret: bytes, purpose: str, *, version: int = 1) -> bytes:
    """Return 32 bytes that reveal nothing about *secret*; ``b3sum --derive-key`` derives the same.

    :param version: of the format that introduced the purpose.
    """
    return blake3(secret, derive_key_context=_CONTEXT.format(version, purpose)).digest()


@dataclass(frozen=True, repr=False)
class Key:
    """An encryption key as its id and sub-keys.

    :param key_id: 16 hex digits; public. The other values are secret.
    :param names: key of names.
    :param data: key of key checks, and of contents in format 1.
    :param contents: key from which each content's own key is derived.
    :param records: key of seals.
    """

    key_id: str
    names: bytes
    data: bytes
    contents: bytes
    records: bytes

    @classmethod
    def of(cls, key: str) -> Key:
        """Derive id and sub-keys of a key.

        :param key: 64 hex digits.
        """
        secret = bytes.fromhex(key)
        return cls(
            key_id=derive(secret, "key id").hex()[:16],
            names=derive(secret, "names"),
            data=derive(secret, "data"),
            contents=derive(secret, "contents", version=2),
            records=derive(secret, "records"),
        )

    def __repr__(self) -> str:
        return f"Key({self.key_id})"


@dataclass(repr=False)
class Keyring:
    """The available keys of an encrypted repository.

    :param active: the key that new objects are encrypted with.
    :param keys: id → key, including the active one.
    :param record_keys: id → key of seals, also of keys that are no longer available.
    """

    active: Key
    keys: Mapping[str, Key]
    record_keys: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, keys: Sequence[str]) -> Keyring:
        """Create a keyring from keys.

        :param keys: 64 hex digits each, the active one first; at least one.
        """
        parsed = [Key.of(key) for key in keys]
        by_id = {key.key_id: key for key in parsed}
        return cls(parsed[0], by_id, {key_id: key.records for key_id, key in by_id.items()})

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self.keys)})"
