"""The identity of a server, and the check of its release."""

from __future__ import annotations

import re

from airflow_restore_replay.core.errors import ReleaseRefused
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn, ServerIdentity

#: prefix of the UUIDs of replay nodes ("replay" in ASCII); a node wrote each transaction with such a source
NODE_UUID_PREFIX = "7265706c-6179"


def identity(conn: Conn) -> ServerIdentity:
    """Return the identity of the server behind *conn*, which restarts do not change."""
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
    """Return whether both are the same server instance."""
    return a.uid == b.uid


def release_of(version: str) -> str:
    """Return the release of a version: ``9.7.4`` for ``9.7.4-2-log``."""
    match = re.match(r"\d+\.\d+\.\d+", version)
    return match[0] if match else version


def refuse_release(*, backup: str | None, node: str, primary: str) -> None:
    """Raise unless backup ≤ node ≤ primary.

    Data files may change with every release of 8.0, and between series after it.

    Source: MySQL manual, "MySQL Releases: Innovation and LTS", "Upgrade Paths".

    :raises ReleaseRefused: the releases are not in that order, or the upgrade skips a required series.
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
