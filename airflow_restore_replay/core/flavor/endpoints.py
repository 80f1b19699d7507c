"""How the protected primary is reached, as configured."""

from __future__ import annotations

from airflow_restore_replay.core.config.sections import Primary
from airflow_restore_replay.core.flavor.values import Endpoint


def primary_endpoint(configured: Primary, password: str) -> Endpoint:
    """:returns: where, as whom and how encrypted every connection to the primary is made."""
    return Endpoint(
        host=configured.host,
        port=configured.port,
        user=configured.user,
        password=password,
        ssl_ca=configured.ssl_ca,
        ssl_cert=configured.ssl_cert,
        ssl_key=configured.ssl_key,
    )
