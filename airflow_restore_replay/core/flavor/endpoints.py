"""The endpoint of the primary, as configured."""

from __future__ import annotations

from airflow_restore_replay.core.config.sections import Primary
from airflow_restore_replay.core.flavor.values import Endpoint


def primary_endpoint(configured: Primary, password: str) -> Endpoint:
    """Return the endpoint of every connection to the primary: address, account and TLS files."""
    return Endpoint(
        host=configured.host,
        port=configured.port,
        user=configured.user,
        password=password,
        ssl_ca=configured.ssl_ca,
        ssl_cert=configured.ssl_cert,
        ssl_key=configured.ssl_key,
    )
