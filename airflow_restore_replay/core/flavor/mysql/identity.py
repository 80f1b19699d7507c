"""Who a server is, and whether its release fits."""

from __future__ import annotations

import re

from airflow_restore_replay.core.errors import ReleaseRefused
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn, ServerIdentity

#: how UUIDs of replay nodes begin ("replay" in ASCII); a transaction with such an origin was written by a node
NODE_UUID_PREFIX = "7265706c-6179"


def identity(conn: Conn) -> ServerIdentity:
    """:returns: the identity of the server behind *conn*; the same over restarts."""
    names = "'hostname', 'port', 'datadir', 'server_id', 'version', 'server_uuid'"
    found = dict(rows(conn, f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({names})"))
    return ServerIdentity(
        uid=found["server_uuid"],
        hostname=found["hostname"],
        port=int(found["port"]),
        datadir=found["datadir"],
        server_id=int(found["server_id"]),
        release=release_of(found["version"]),
    )


def same_server(a: ServerIdentity, b: ServerIdentity) -> bool:
    """:returns: whether both are the very same server instance."""
    return a.uid == b.uid


def release_of(version: str) -> str:
    """:returns: ``9.7.4`` of ``9.7.4-2-log``."""
    match = re.match(r"\d+\.\d+\.\d+", version)
    return match[0] if match else version


def refuse_release(*, backup: str | None, node: str, primary: str) -> None:
    """Compare releases: data files may change with every release of 8.0, and between series after it.

    :raises ReleaseRefused: unless backup ≤ node ≤ primary, with no series left out that an upgrade must go through.

    Source: MySQL manual, "MySQL Releases: Innovation and LTS", "Upgrade Paths".
    """
    if backup is not None and _level(backup) > _level(node):
        raise ReleaseRefused(
            f"The node's server is MySQL {node}, older than the backup's {backup}.",
            hint=f"Install MySQL {backup} or newer on the node.",
        )
    if backup is not None and _level(backup) < (8, 4) and _level(node) >= (9,):
        raise ReleaseRefused(
            f"The backup is of MySQL {backup}; MySQL {node} on the node cannot upgrade it.",
            hint="Run one cycle with MySQL 8.4 on the node first.",
        )
    if _level(node) > _level(primary):
        raise ReleaseRefused(
            f"The node's server is MySQL {node}, newer than the primary's {primary}; a backup made on it "
            "could not be restored on the primary's release.",
            hint=f"Install MySQL {primary} on the node.",
        )


def _level(release: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", release_of(release))
    if not match:
        raise ReleaseRefused(f"{release!r} is not a MySQL release such as 8.4.6.")
    major, minor, patch = (int(part) for part in match.groups())
    return (major, minor, patch) if (major, minor) < (8, 4) else (major, minor)
