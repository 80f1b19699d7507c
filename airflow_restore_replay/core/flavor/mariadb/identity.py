"""The identity of a server, and the check of its release."""

from __future__ import annotations

import re

from blake3 import blake3

from airflow_restore_replay.core.errors import ReleaseRefused
from airflow_restore_replay.core.flavor.identity import read_identity, refuse_order
from airflow_restore_replay.core.flavor.values import Conn, ServerIdentity


def identity(conn: Conn) -> ServerIdentity:
    """Return the identity of the server behind *conn*, which restarts do not change."""
    # server_uid exists since 10.10; it is derived from MAC address and port, which two containers may share.
    parts = ("hostname", "port", "datadir", "server_uid")
    return read_identity(
        conn,
        uid_variable="server_uid",
        uid=lambda found: blake3("\0".join(found.get(name, "") for name in parts).encode()).hexdigest(
            length=16
        ),
        release_of=release_of,
    )


def release_of(version: str) -> str:
    """Return the release of a version: ``10.11.19`` for ``10.11.19-MariaDB-log``."""
    match = re.match(r"(?:5\.5\.5-)?(\d+\.\d+\.\d+)", version)
    return match[1] if match else version


def refuse_release(*, backup: str | None, node: str, primary: str) -> None:
    """Raise unless backup ≤ node ≤ primary, by release series: ``10.11`` for ``10.11.19``.

    Data files may change between series only.

    :raises ReleaseRefused: the series are not in that order.
    """
    refuse_order("MariaDB", series_of, _series_text, backup=backup, node=node, primary=primary)


def series_of(release: str) -> tuple[int, int]:
    """Return the series of a release: ``(10, 11)`` for ``10.11.19-MariaDB-log``."""
    match = re.match(r"(\d+)\.(\d+)", release_of(release))
    if not match:
        raise ReleaseRefused(f"{release!r} is not a MariaDB release such as 10.11.6.")
    return int(match[1]), int(match[2])


def _series_text(release: str) -> str:
    return ".".join(map(str, series_of(release)))
