"""TLS connections: what is verified, and what to change if that fails."""

from __future__ import annotations

import ssl

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.values import Endpoint

#: a server that refuses an account does not say that it misses a certificate
ACCOUNT_HINT = (
    "Check user, password and the account's host part on the primary; if it is REQUIRE SSL, primary.ssl_ca, and if "
    "it is REQUIRE X509, primary.ssl_cert and primary.ssl_key, too."
)


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return TLS settings for *endpoint*.

    With a CA, the server's certificate and host name are verified. Without one, the connection is only encrypted.

    :raises PreflightFailed: a certificate or key cannot be read on this host.
    """
    try:
        if endpoint.ssl_ca:
            context = ssl.create_default_context(cafile=endpoint.ssl_ca)
        else:
            # Without the system's CAs, which take 20 ms of CPU time to load and would verify nothing.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if endpoint.ssl_cert:
            context.load_cert_chain(endpoint.ssl_cert, endpoint.ssl_key)
    except OSError as exc:
        files = (endpoint.ssl_ca, endpoint.ssl_cert, endpoint.ssl_key)
        raise PreflightFailed(
            f"Certificates or the key for {endpoint} cannot be read on this host: {exc.strerror or exc} "
            f"(of {', '.join(filter(None, files))}).",
            hint="Give primary.ssl_ca, ssl_cert and ssl_key PEM files that the worker's account may read.",
        ) from exc
    return context


def about_certificates(text: str) -> bool:
    """Return whether a client's message says that a certificate was not accepted, which no retry changes."""
    return "certificate" in text.lower()


def unreachable_hint(text: str) -> str:
    """Return the hint for a connection that failed with *text*."""
    # MariaDB's replication reports a bad certificate only as "SSL connection error: error:00000000:lib(0)::reason(0)".
    if about_certificates(text) or "SSL connection error" in text:
        return (
            "The server's certificate must be signed by primary.ssl_ca and name primary.host; one of our own "
            "(primary.ssl_cert) by a CA that the server trusts."
        )
    if "without TLS" in text:
        return "Enable TLS on the primary, and give primary.ssl_ca so that its certificate is verified."
    return "Check that the server runs and that host, port and TLS settings are right."
