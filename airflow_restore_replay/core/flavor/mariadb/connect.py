"""Connections to a MariaDB server."""

from __future__ import annotations

import pymysql

from airflow_restore_replay.core.flavor.mariadb.classify import connect_error
from airflow_restore_replay.core.flavor.sql import READ_TIMEOUT_S, open_connection
from airflow_restore_replay.core.flavor.tls import tls_context
from airflow_restore_replay.core.flavor.values import Conn, Endpoint


def connect(endpoint: Endpoint, *, read_timeout_s: int = READ_TIMEOUT_S) -> Conn:
    """Open an autocommit connection in UTC.

    It is encrypted if the endpoint names a CA or a client certificate, and verified if it names a CA.

    :raises PrimaryUnreachable: the server does not answer.
    :raises ReplicationDenied: the password or a grant is wrong.
    """
    try:
        context = tls_context(endpoint) if endpoint.ssl_ca or endpoint.ssl_cert else None
        return open_connection(endpoint, context, read_timeout_s=read_timeout_s)
    except (pymysql.err.MySQLError, OSError) as exc:
        raise connect_error(exc, endpoint) from exc
