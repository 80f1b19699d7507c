"""Place and credentials of replay nodes, from the connection of a cluster's nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_restore_replay.core.config.sections import NodeSpec
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.runtime.base import NodeAccess

if TYPE_CHECKING:
    from airflow.sdk import Connection

NODE_CONN_TYPE = "restore_replay_node"
SSH_CONN_TYPE = "ssh"
DOCKER_CONN_TYPE = "docker"

#: Extra fields of an SSH connection → names in :class:`NodeAccess`
_SSH_ACCESS = {
    "private_key": "private_key",
    "private_key_passphrase": "passphrase",
    "host_key": "host_key",
}
#: Settings that only the SSH provider's own hook supports. Connections that use them are refused.
_SSH_ONLY = ("host_proxy_cmd", "ciphers", "disabled_algorithms")


def resolve_node(node: NodeSpec, conn: Connection) -> NodeSpec:
    """Return *node* with the place that its connection names; the result holds no secret.

    :raises ConfigInvalid: the connection is not of the runtime's type, or not usable.
    """
    extra = conn.extra_dejson
    if node.runtime == "docker":
        # Connections of the Docker provider are accounts of registries; they name no place.
        _require_type(conn, DOCKER_CONN_TYPE, node)
        return node
    if node.runtime != "ssh":
        _require_type(conn, NODE_CONN_TYPE, node)
        found = {name: str(extra[name]) for name in ("workdir", "bindir") if extra.get(name)}
        return msgspec.structs.replace(node, connection=None, **found)
    _require_type(conn, SSH_CONN_TYPE, node)
    if only := [name for name in _SSH_ONLY if extra.get(name)]:
        raise ConfigInvalid(
            f"Connection {conn.conn_id!r} uses {', '.join(only)}, which nodes over SSH do not support.",
            hint="Remove it; the node's host must be reachable from workers and triggerers.",
        )
    where: dict[str, Any] = {"host": conn.host, "port": conn.port, "user": conn.login}
    where["key_file"] = extra.get("key_file")
    try:
        # The connection's name stays: the receiver of these plain values still needs its private key.
        return msgspec.structs.replace(node, **{name: value for name, value in where.items() if value})
    except ValueError as exc:
        raise ConfigInvalid(f"Connection {conn.conn_id!r}: {exc}.") from exc


def node_access(conn: Connection) -> NodeAccess:
    """Return the credentials for nodes, masked in logs; empty for nodes on the worker's own host."""
    from airflow.sdk.log import mask_secret

    if conn.conn_type == DOCKER_CONN_TYPE:
        mask_secret(conn.password or "")
        registry = f"{conn.host}:{conn.port}" if conn.port else conn.host
        return NodeAccess(registry=registry or "", user=conn.login or "", password=conn.password or "")
    if conn.conn_type != SSH_CONN_TYPE:
        return NodeAccess()
    extra = conn.extra_dejson
    found = {ours: str(extra[theirs]) for theirs, ours in _SSH_ACCESS.items() if extra.get(theirs)}
    password = conn.password or ""
    for secret in filter(None, (password, found.get("private_key"), found.get("passphrase"))):
        mask_secret(secret)
    return NodeAccess(password=password, **found)


def _require_type(conn: Connection, wanted: str, node: NodeSpec) -> None:
    if conn.conn_type != wanted:
        raise ConfigInvalid(
            f"Connection {conn.conn_id!r} is of the type {conn.conn_type!r}; "
            f"node.runtime {node.runtime} needs one of the type {wanted!r}."
        )
