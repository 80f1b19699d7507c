"""A certificate authority for one restore, and the certificate that it signs for the server of archived logs."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_restore_replay.core.flavor.private_files import write_private

_VALID = timedelta(days=30)
#: clocks of one host do not differ, but they may be set back
_MARGIN = timedelta(days=1)
_ADDRESS = "127.0.0.1"


def make_certificates(directory: Path) -> tuple[Path, Path, Path]:
    """Create an authority, whose key is not kept, and a certificate for loopback.

    :returns: the files of the authority's certificate, the server's certificate and the server's key.
    """
    ca, cert, key = (directory / name for name in ("ca.pem", "server.pem", "server.key"))
    authority = ec.generate_private_key(ec.SECP256R1())
    own = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("restore-replay")
    _write(ca, _builder(issuer, issuer, authority.public_key(), is_ca=True).sign(authority, hashes.SHA256()))
    signed = _builder(_name(_ADDRESS), issuer, own.public_key(), is_ca=False).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(_ADDRESS))]), critical=False
    )
    _write(cert, signed.sign(authority, hashes.SHA256()))
    write_private(
        key,
        own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    )
    return ca, cert, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, is_ca: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _MARGIN)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _write(path: Path, certificate: x509.Certificate) -> None:
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM).decode())
