"""The agent's commands about a host: make a node there, list those that are there, try whether there could be any."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.agent.examine import examine as preconditions
from airflow_restore_replay.core.agent.node_commands import describe
from airflow_restore_replay.core.agent.probe import probe_node
from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.errors import NodeGone, RestoreReplayError
from airflow_restore_replay.core.jobs.node import NodeDir, nodes_in
from airflow_restore_replay.core.jobs.protocol import ExamineRequest, NodeRequest, decode_message


def create(workdir: Path, payload: bytes) -> dict[str, Any]:
    """Make the node of the request, or find it again."""
    request = decode_message(payload, NodeRequest, sender="The worker")
    node = NodeDir.create(workdir.absolute(), request)
    return {"node_id": request.node_id, "workdir": str(node.path.parent)}


def nodes(workdir: Path, payload: bytes) -> dict[str, Any]:
    """:returns: ``nodes``: each as :func:`describe` has it, and the bytes that it takes on disk."""
    found = []
    for node in nodes_in(workdir.absolute()):
        with contextlib.suppress(NodeGone):
            found.append(_seen(node))
    return {"nodes": found}


def probe(workdir: Path, payload: bytes) -> dict[str, Any]:
    """Try whether nodes can live here."""
    return {"found": probe_node(str(workdir), decode(payload, dict)["bindir"])}


def examine(workdir: Path, payload: bytes) -> dict[str, Any]:
    """:returns: ``findings``: every precondition of a cycle, with this host as the node."""
    request = decode_message(payload, ExamineRequest, sender="The worker")
    found = preconditions(request.cluster, request.secrets)
    return {"findings": msgspec.to_builtins(found)}


def _seen(node: NodeDir) -> dict[str, Any]:
    try:
        return {**describe(node, b""), "disk_bytes": _disk_bytes(node.path)}
    except NodeGone:
        raise
    except (RestoreReplayError, msgspec.MsgspecError) as exc:
        # A node of another release must still be seen, or nobody would ever remove it.
        return {"node_id": node.path.name, "phase": f"unreadable: {exc}", "workdir": str(node.path.parent)}


def _disk_bytes(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        # A server and a job come and go beneath us.
        with contextlib.suppress(FileNotFoundError):
            total += 0 if path.is_symlink() else path.lstat().st_blocks * 512
    return total


COMMANDS: dict[str, Callable[[Path, bytes], dict[str, Any]]] = {
    "create": create,
    "nodes": nodes,
    "probe": probe,
    "examine": examine,
}
