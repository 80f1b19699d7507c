"""A server without TLS that asks for the password in a readable form, as somebody between could."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pymysql.constants import CLIENT

PASSWORD = "S3cret-of-the-primary"
USER = "restore_replay"
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

    @property
    def learnt(self) -> list[bytes]:
        """Return the packets that hold the password: as it is, or encrypted for the key of this server."""
        # RSA's result has the length of the key.
        return [packet for packet in self.received if PASSWORD.encode() in packet or len(packet) == 256]

    def serve(self, listening: socket.socket, plugin: str, packets: list[bytes]) -> None:
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with contextlib.suppress(OSError):
            self._talk(listening.accept()[0], [handshake(plugin), *packets], pem)

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


def handshake(plugin: str) -> bytes:
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
