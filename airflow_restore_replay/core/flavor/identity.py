"""The identity of a server, and the check of its release: common to all flavors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from airflow_restore_replay.core.errors import ReleaseRefused
from airflow_restore_replay.core.flavor.sql import Answer, rows
from airflow_restore_replay.core.flavor.values import Conn, ServerIdentity


def read_identity(
    conn: Conn,
    *,
    uid_variable: str,
    uid: Callable[[Mapping[str, str]], str],
    release_of: Callable[[str], str],
) -> ServerIdentity:
    """Return the identity of the server behind *conn*, which restarts do not change.

    :param uid: makes what is the same only for the same server instance of the server's variables.
    """
    names = ("hostname", "port", "datadir", "server_id", "version", uid_variable)
    listed = ", ".join(f"'{name}'" for name in names)
    found = Answer(rows(conn, f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({listed})"))
    return ServerIdentity(
        uid=uid(found),
        hostname=found["hostname"],
        port=int(found["port"]),
        datadir=found["datadir"],
        server_id=int(found["server_id"]),
        release=release_of(found["version"]),
    )


def same_server(a: ServerIdentity, b: ServerIdentity) -> bool:
    """Return whether both are the same server instance."""
    return a.uid == b.uid


def refuse_order(
    product: str,
    level: Callable[[str], tuple[int, ...]],
    shown: Callable[[str], str],
    *,
    backup: str | None,
    node: str,
    primary: str,
) -> None:
    """Raise unless backup ≤ node ≤ primary.

    :param level: what of a release must be in order.
    :param shown: the release to install for *level*, as people write it.
    :raises ReleaseRefused: they are not in that order.
    """
    if backup is not None and level(backup) > level(node):
        raise ReleaseRefused(
            f"The node's server is {product} {node}, older than the backup's {backup}.",
            hint=f"Install {product} {shown(backup)} or newer on the node.",
        )
    if level(node) > level(primary):
        raise ReleaseRefused(
            f"The node's server is {product} {node}, newer than the primary's {primary}; a backup made on it "
            "could not be restored on the primary's release.",
            hint=f"Install {product} {shown(primary)} on the node.",
        )
