"""The agent's commands about a host: create a node, list the nodes, probe the host, examine the preconditions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.agent.cluster_examination import examine_cluster
from airflow_restore_replay.core.agent.node_commands import describe
from airflow_restore_replay.core.agent.probe import probe_node
from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.errors import NodeGone, RestoreReplayError
from airflow_restore_replay.core.jobs.node import NodeDir, nodes_in
from airflow_restore_replay.core.jobs.protocol import ExamineRequest, NodeRequest, decode_message
from airflow_restore_replay.core.system.files import allocated_bytes


def create(workdir: Path, payload: bytes) -> dict[str, Any]:
    """Create the node of the request, or find the existing one."""
    request = decode_message(payload, NodeRequest, sender="The worker")
    node = NodeDir.create(workdir.absolute(), request)
    return {"node_id": request.node_id, "workdir": str(node.path.parent)}


def nodes(workdir: Path, payload: bytes) -> dict[str, Any]:
    """List the nodes of this host.

    :returns: ``nodes``: each as :func:`describe` returns it, and the bytes that it occupies on disk.
    """
    found = []
    for node in nodes_in(workdir.absolute()):
        with contextlib.suppress(NodeGone):
            found.append(_seen(node))
    return {"nodes": found}


def probe(workdir: Path, payload: bytes) -> dict[str, Any]:
    """Probe whether nodes can live on this host.

    :returns: ``found``: the result, for people.
    """
    return {"found": probe_node(str(workdir), decode(payload, dict)["bindir"])}


def examine(workdir: Path, payload: bytes) -> dict[str, Any]:
    """Examine the preconditions of a cycle, with this host as the node.

    :returns: ``findings``: every precondition.
    """
    request = decode_message(payload, ExamineRequest, sender="The worker")
    found = examine_cluster(request.cluster, request.secrets)
    return {"findings": msgspec.to_builtins(found)}


def _seen(node: NodeDir) -> dict[str, Any]:
    try:
        return {**describe(node, b""), "disk_bytes": allocated_bytes(node.path)}
    except NodeGone:
        raise
    except RestoreReplayError as exc:
        # List a node of another release, too; otherwise it would never be removed.
        # The next run of its cluster removes it: its id begins with the cluster's name.
        return {
            "node_id": node.path.name,
            "cluster": node.path.name.rpartition("-")[0],
            "phase": f"unreadable: {exc}",
            "workdir": str(node.path.parent),
        }


COMMANDS: dict[str, Callable[[Path, bytes], dict[str, Any]]] = {
    "create": create,
    "nodes": nodes,
    "probe": probe,
    "examine": examine,
}
