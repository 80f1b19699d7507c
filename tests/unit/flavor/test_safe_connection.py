"""Fault X11: a server, or who stands in for it, asks for the password in a readable form."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pymysql.constants import CLIENT

from airflow_restore_replay.core.errors import PrimaryUnreachable
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Endpoint
from tests.support.tls import make_authority

PASSWORD = "S3cret-of-the-primary"
_USER = "restore_replay"
_SALT = b"12345678abcdefghijkl\0"
#: how a server can ask for the password itself: the plugin of its handshake, and the packets that it then sends
ASKED = {
    "clear": ("mysql_native_password", [b"\xfemysql_clear_password\0"]),
    "dialog": ("mysql_native_password", [b"\xfedialog\0\x04Password: "]),
    "sha256": ("sha256_password", [b"\x01KEY"]),
    "sha256 switched to": ("mysql_native_password", [b"\xfesha256_password\0" + _SALT, b"\x01KEY"]),
    "full caching_sha2": ("caching_sha2_password", [b"\x01\x04", b"\x01KEY"]),
}


@dataclass
class Impostor:
    """A server without TLS. After the handshake it sends *packets*, each after a packet of the client.

    :param received: each packet of the client.
    """

    port: int
    received: list[bytes] = field(default_factory=list)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def serve(self, listening: socket.socket, plugin: str, packets: list[bytes]) -> None:
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with contextlib.suppress(OSError):
            self._talk(listening.accept()[0], [_handshake(plugin), *packets], pem)

    def _talk(self, sock: socket.socket, packets: list[bytes], pem: bytes) -> None:
        with sock, sock.makefile("rb") as incoming:
            sock.settimeout(20)
            for number, packet in enumerate(packets):
                whole = packet.replace(b"KEY", pem)
                sock.sendall(struct.pack("<I", len(whole))[:3] + bytes([2 * number]) + whole)
                header = incoming.read(4)
                if len(header) < 4:
                    return
                self.received.append(incoming.read(int.from_bytes(header[:3], "little")))


def _handshake(plugin: str) -> bytes:
    flags = CLIENT.CAPABILITIES & ~CLIENT.SSL
    return (
        b"\x0a8.4.0\0"
        + struct.pack("<I", 7)
        + _SALT[:8]
        + b"\0"
        + struct.pack("<HBHHB", flags & 0xFFFF, 45, 2, flags >> 16, len(_SALT))
        + bytes(10)
        + _SALT[8:]
        + plugin.encode()
        + b"\0"
    )


@contextlib.contextmanager
def impostor(asked: str) -> Iterator[Impostor]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Impostor(listening.getsockname()[1])
        thread = threading.Thread(target=server.serve, args=(listening, *ASKED[asked]), daemon=True)
        thread.start()
        yield server
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
def test_x11_a_server_that_offers_no_tls_learns_nothing_where_a_ca_asks_for_it(
    flavor: str, tmp_path: Path
) -> None:
    ca = str(make_authority(tmp_path).ca)
    with impostor("clear") as server:
        endpoint = Endpoint(port=server.port, user=_USER, password=PASSWORD, ssl_ca=ca)
        with pytest.raises(PrimaryUnreachable) as caught:
            get_flavor(flavor).connect(endpoint)
    assert server.received == []
    assert f"offers no TLS, and ssl_ca {ca} asks for it" in str(caught.value)


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
@pytest.mark.parametrize("asked", ASKED)
def test_x11_without_tls_the_password_is_given_in_no_readable_form(flavor: str, asked: str) -> None:
    with impostor(asked) as server:
        endpoint = Endpoint(port=server.port, user=_USER, password=PASSWORD)
        with pytest.raises(PrimaryUnreachable) as caught:
            get_flavor(flavor).connect(endpoint)
    assert _USER.encode() in server.received[0]
    assert not [packet for packet in server.received if PASSWORD.encode() in packet]
    # Nor encrypted for the key of whoever asked: RSA's result has the length of the key.
    assert not [packet for packet in server.received if len(packet) == 256]
    assert "without TLS this is refused" in str(caught.value)
    assert "Enable TLS on the primary" in (caught.value.hint or "")
