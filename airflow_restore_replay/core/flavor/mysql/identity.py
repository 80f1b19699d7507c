"""The identity of a server, and the check of its release."""

from __future__ import annotations

import re

from airflow_restore_replay.core.errors import ReleaseRefused
from airflow_restore_replay.core.flavor.identity import read_identity, refuse_order
from airflow_restore_replay.core.flavor.values import Conn, ServerIdentity

#: prefix of the UUIDs of replay nodes ("replay" in ASCII); a node wrote each transaction with such a source
NODE_UUID_PREFIX = "7265706c-6179"


def identity(conn: Conn) -> ServerIdentity:
    """Return the identity of the server behind *conn*, which restarts do not change."""
    return read_identity(
        conn, uid_variable="server_uuid", uid=lambda found: found["server_uuid"], release_of=release_of
    )


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
    if backup is not None and _level(backup) < (8, 4) and _level(node) >= (9,):
        raise ReleaseRefused(
            f"The backup is of MySQL {backup}; MySQL {node} on the node cannot upgrade it.",
            hint="Run one cycle with MySQL 8.4 on the node first.",
        )
    refuse_order("MySQL", _level, str, backup=backup, node=node, primary=primary)


def _level(release: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", release_of(release))
    if not match:
        raise ReleaseRefused(f"{release!r} is not a MySQL release such as 8.4.6.")
    major, minor, patch = (int(part) for part in match.groups())
    return (major, minor, patch) if (major, minor) < (8, 4) else (major, minor)
