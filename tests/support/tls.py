"""A certificate authority of one's own, and certificates from it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """Files of a certificate authority and of certificates that it signed.

    :param ca: what each side trusts.
    :param cert, key: for a server at 127.0.0.1.
    :param client_cert, client_key: for clients.
    """

    ca: Path
    cert: Path
    key: Path
    client_cert: Path
    client_key: Path

    @property
    def server_options(self) -> list[str]:
        """Return options of a database server."""
        return [f"--ssl-ca={self.ca}", f"--ssl-cert={self.cert}", f"--ssl-key={self.key}"]


def make_authority(directory: Path) -> Authority:
    """Make all of it with openssl, below *directory*."""
    directory.mkdir(parents=True, exist_ok=True)
    names = ("ca.pem", "ca.key", "server.pem", "server.key", "client.pem", "client.key")
    ca, ca_key, cert, key, client_cert, client_key = (directory / name for name in names)
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    is_ca = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    _run(*new, "-subj", "/CN=tests' own CA", "-keyout", str(ca_key), "-out", str(ca), *is_ca)
    signed = ["-CA", str(ca), "-CAkey", str(ca_key), "-addext", "basicConstraints=critical,CA:FALSE"]
    at = ["-addext", "subjectAltName=IP:127.0.0.1"]
    _run(*new, "-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(cert), *signed, *at)
    _run(*new, "-subj", "/CN=who connects", "-keyout", str(client_key), "-out", str(client_cert), *signed)
    return Authority(ca, cert, key, client_cert, client_key)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
