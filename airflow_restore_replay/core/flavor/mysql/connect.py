"""Connections to a MySQL server."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.mysql.classify import RULES
from airflow_restore_replay.core.flavor.sql import READ_TIMEOUT_S, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint


def connect(endpoint: Endpoint, *, read_timeout_s: int = READ_TIMEOUT_S) -> Conn:
    """Open a connection, encrypted if the server can.

    ``caching_sha2_password`` sends the password itself over a connection that it considers secure.

    :raises RestoreReplayError: as :meth:`~airflow_restore_replay.core.flavor.classify.ErrorRules.connect`.
    """
    return RULES.connect(endpoint, encrypted=not endpoint.socket, read_timeout_s=read_timeout_s)


def release(conn: Conn) -> tuple[int, int, int]:
    """Return the server's release as a tuple that can be compared."""
    text = str(value(conn, "SELECT @@GLOBAL.version"))
    parts = [int(part) for part in text.split("-")[0].split(".")[:3] if part.isdigit()]
    major, minor, patch = (*parts, 0, 0, 0)[:3]
    return major, minor, patch
