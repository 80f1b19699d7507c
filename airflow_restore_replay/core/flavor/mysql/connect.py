"""Connections to a MySQL server."""

from __future__ import annotations

import pymysql

from airflow_restore_replay.core.flavor.mysql.classify import connect_error
from airflow_restore_replay.core.flavor.sql import READ_TIMEOUT_S, open_connection, value
from airflow_restore_replay.core.flavor.tls import tls_context
from airflow_restore_replay.core.flavor.values import Conn, Endpoint


def connect(endpoint: Endpoint, *, read_timeout_s: int = READ_TIMEOUT_S) -> Conn:
    """Open an autocommit connection in UTC, encrypted if the server can, verified if the endpoint names a CA.

    ``caching_sha2_password`` sends the password itself over a connection that it considers secure.

    :raises PrimaryUnreachable: the server does not answer.
    :raises ReplicationDenied: the password or a grant is wrong.
    """
    try:
        context = None if endpoint.socket else tls_context(endpoint)
        return open_connection(endpoint, context, read_timeout_s=read_timeout_s)
    except (pymysql.err.MySQLError, OSError, RuntimeError) as exc:
        raise connect_error(exc, endpoint) from exc


def release(conn: Conn) -> tuple[int, int, int]:
    """Return the server's release as a tuple that can be compared."""
    text = str(value(conn, "SELECT @@GLOBAL.version"))
    parts = [int(part) for part in text.split("-")[0].split(".")[:3] if part.isdigit()]
    major, minor, patch = (*parts, 0, 0, 0)[:3]
    return major, minor, patch
