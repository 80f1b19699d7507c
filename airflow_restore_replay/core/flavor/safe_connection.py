"""A connection whose driver does not give the password to a server, or to who stands in for it."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from pymysql.constants import CLIENT, CR
from pymysql.err import OperationalError

from airflow_restore_replay.core.flavor.quiet_connection import QuietConnection

#: plugins whose answer over a connection without TLS is a digest of the password and of a random text of the server
_DIGESTS = frozenset(
    {b"mysql_native_password", b"caching_sha2_password", b"sha256_password", b"client_ed25519"}
)


class SafeConnection(QuietConnection):
    """Connection that refuses to log in where the driver would continue without protection.

    - The driver skips TLS if the server does not offer it. Whoever is between can remove the offer.
    - The driver sends the password as it is, or encrypted with a key that the server names, if the server asks for it.
      On a unix socket and by TLS this class permits it.

    :param tls_asked_by: setting that asks for TLS. A server that offers none is refused before anything about the
        account is sent. Empty if the connection may do without.
    """

    # attributes of the driver
    _sock: socket.socket
    _secure: bool
    server_capabilities: int

    def __init__(self, *, tls_asked_by: str, **options: Any) -> None:
        self._tls_asked_by = tls_asked_by
        self._received_key: bytes | None = None
        super().__init__(**options)

    def _request_authentication(self) -> None:
        # The driver keeps the value of an earlier connection of the same object.
        self._secure = self._sock.family == socket.AF_UNIX
        if self._tls_asked_by and not self.server_capabilities & CLIENT.SSL:
            raise ssl.SSLError(f"the server offers no TLS, and {self._tls_asked_by} asks for it")
        super()._request_authentication()  # type: ignore[misc]

    def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        if plugin_name not in _DIGESTS:
            self._require_encryption(f"the plugin {plugin_name.decode('ascii', 'backslashreplace')}")
        return super()._process_auth(plugin_name, auth_packet)  # type: ignore[misc]

    @property
    def server_public_key(self) -> bytes | None:
        """Return the key that the driver encrypts the password with where there is no TLS."""
        return self._received_key

    @server_public_key.setter
    def server_public_key(self, key: bytes | None) -> None:
        if key is not None:
            self._require_encryption("an RSA key of its own")
        self._received_key = key

    def _require_encryption(self, asked: str) -> None:
        if not self._secure:
            raise OperationalError(
                CR.CR_AUTH_PLUGIN_ERR,
                f"the server asks for the password by {asked}; without TLS this is refused, because it is readable",
            )
