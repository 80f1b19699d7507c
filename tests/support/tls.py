"""A certificate authority of one's own, and a server's certificate from it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """:param ca: what clients trust. :param cert, key: for a server at 127.0.0.1."""

    ca: Path
    cert: Path
    key: Path


def make_authority(directory: Path) -> Authority:
    """Make both with openssl, below *directory*."""
    directory.mkdir(parents=True, exist_ok=True)
    ca, ca_key, cert, key = (directory / name for name in ("ca.pem", "ca.key", "server.pem", "server.key"))
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    is_ca = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    _run(*new, "-subj", "/CN=tests' own CA", "-keyout", str(ca_key), "-out", str(ca), *is_ca)
    signed = ["-CA", str(ca), "-CAkey", str(ca_key), "-addext", "subjectAltName=IP:127.0.0.1"]
    leaf = ["-addext", "basicConstraints=critical,CA:FALSE"]
    _run(*new, "-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(cert), *signed, *leaf)
    return Authority(ca, cert, key)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
