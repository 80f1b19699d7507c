"""Key management services, which wrap the data key of a repository: encrypt it under a key that never leaves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

#: what a connection gives: ``token`` and ``address`` of Vault, or names as in a repository's credentials
Access = Mapping[str, str]
TIMEOUT_S = 20.0


class NotUnwrapped(Exception):
    """The text is damaged, of another key or of another purpose. The message is safe to show."""


class Kms(Protocol):
    """One key of a key management service.

    :ivar kind: name of the source in the cluster file.
    :ivar name: of the key, as the cluster file has it.
    """

    kind: str
    name: str

    def wrap(self, key: bytes, about: Mapping[str, str]) -> tuple[str, str]:
        """Encrypt a data key.

        :param about: what it is for, which :meth:`unwrap` must be given again.
        :returns: the wrapped key, and the exact name of the key that wrapped it.
        :raises KeyRefused: the service refuses.
        :raises KeySourceFailed: the service does not answer as it should.
        """

    def unwrap(self, wrapped: str, about: Mapping[str, str]) -> bytes:
        """Decrypt what :meth:`wrap` has returned.

        :raises NotUnwrapped: *wrapped* or *about* is not as it was.
        :raises KeyRefused, KeySourceFailed: see :meth:`wrap`.
        """

    def may_have_wrapped(self, name: str) -> bool:
        """Return whether a wrapped key can be this key's, by the exact name of the key that wrapped it."""
