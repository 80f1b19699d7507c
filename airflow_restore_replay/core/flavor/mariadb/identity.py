"""The identity of a server, and the check of its release."""

from __future__ import annotations

import re

from blake3 import blake3

from airflow_restore_replay.core.errors import ReleaseRefused
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn, ServerIdentity


def identity(conn: Conn) -> ServerIdentity:
    """Return the identity of the server behind *conn*, which restarts do not change."""
    names = "hostname, port, datadir, server_id, version, server_uid"
    found = dict(rows(conn, f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({_quoted(names)})"))
    # server_uid exists since 10.10; it is derived from MAC address and port, which two containers may share.
    parts = (found["hostname"], found["port"], found["datadir"], found.get("server_uid", ""))
    return ServerIdentity(
        uid=blake3("\0".join(parts).encode()).hexdigest(length=16),
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
    """Return the release of a version: ``10.11.19`` for ``10.11.19-MariaDB-log``."""
    match = re.match(r"(?:5\.5\.5-)?(\d+\.\d+\.\d+)", version)
    return match[1] if match else version


def refuse_release(*, backup: str | None, node: str, primary: str) -> None:
    """Raise unless backup ≤ node ≤ primary, by release series: ``10.11`` for ``10.11.19``.

    Data files may change between series only.

    :raises ReleaseRefused: the series are not in that order.
    """
    if backup is not None and series_of(backup) > series_of(node):
        raise ReleaseRefused(
            f"The node's server is MariaDB {node}, older than the backup's {backup}.",
            hint=f"Install MariaDB {'.'.join(map(str, series_of(backup)))} or newer on the node.",
        )
    if series_of(node) > series_of(primary):
        raise ReleaseRefused(
            f"The node's server is MariaDB {node}, newer than the primary's {primary}; a backup made on it "
            "could not be restored on the primary's release.",
            hint=f"Install MariaDB {'.'.join(map(str, series_of(primary)))} on the node.",
        )


def series_of(release: str) -> tuple[int, int]:
    """Return the series of a release: ``(10, 11)`` for ``10.11.19-MariaDB-log``."""
    match = re.match(r"(\d+)\.(\d+)", release_of(release))
    if not match:
        raise ReleaseRefused(f"{release!r} is not a MariaDB release such as 10.11.6.")
    return int(match[1]), int(match[2])


def _quoted(names: str) -> str:
    return ", ".join(f"'{name.strip()}'" for name in names.split(","))
