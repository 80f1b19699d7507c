"""Connections to a MariaDB server."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.mariadb.classify import RULES
from airflow_restore_replay.core.flavor.sql import READ_TIMEOUT_S
from airflow_restore_replay.core.flavor.values import Conn, Endpoint


def connect(endpoint: Endpoint, *, read_timeout_s: int = READ_TIMEOUT_S) -> Conn:
    """Open a connection, encrypted if the endpoint names a CA or a client certificate.

    :raises RestoreReplayError: as :meth:`~airflow_restore_replay.core.flavor.classify.ErrorRules.connect`.
    """
    encrypted = bool(endpoint.ssl_ca or endpoint.ssl_cert)
    return RULES.connect(endpoint, encrypted=encrypted, read_timeout_s=read_timeout_s)
