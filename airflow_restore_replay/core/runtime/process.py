"""Nodes as directories and processes of this host: the embedded default."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.agent.answers import answer
from airflow_restore_replay.core.agent.commands import describe
from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.errors import NodeGone, RestoreReplayError, WrongHost
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import Answer, NodeHandle, NodeRequest


class ProcessRuntime:
    """:param workdir: parent of all nodes' directories on this host."""

    name = "process"

    def __init__(self, workdir: str) -> None:
        self._workdir = Path(workdir).absolute()

    def create(self, request: NodeRequest) -> NodeHandle:
        NodeDir.create(self._workdir, request)
        return NodeHandle(
            node_id=request.node_id,
            runtime=self.name,
            cluster=str(request.cluster.get("name", "")),
            workdir=str(self._workdir),
            host=socket.gethostname(),
        )

    def ask(self, handle: NodeHandle, command: str, payload: bytes) -> bytes:
        # The agent lives on this very host: no process in between is needed to ask it.
        return answer(command, self._node(handle), payload)

    def destroy(self, handle: NodeHandle) -> None:
        reply = decode(self.ask(handle, "destroy", b"{}"), Answer)
        if reply.failure:
            raise reply.failure.to_exception()

    def nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for path in sorted(self._workdir.glob("*/node.json")):
            with contextlib.suppress(NodeGone):
                found.append(self._describe(NodeDir(path.parent)))
        return found

    def _describe(self, node: NodeDir) -> dict[str, Any]:
        disk = sum(f.lstat().st_blocks * 512 for f in node.path.rglob("*") if not f.is_symlink())
        try:
            return {**describe(node, b""), "disk_bytes": disk}
        except NodeGone:
            raise
        except (RestoreReplayError, msgspec.MsgspecError) as exc:
            # A node of another release must still be seen, or nobody would ever remove it.
            return {"node_id": node.path.name, "phase": f"unreadable: {exc}", "workdir": str(self._workdir)}

    def _node(self, handle: NodeHandle) -> NodeDir:
        here = socket.gethostname()
        if handle.host != here:
            raise WrongHost(
                f"Replay node {handle.node_id} lives on host {handle.host}, this is {here}.",
                hint="Give the cluster node.queue, and let only workers of that host listen to it.",
            )
        return NodeDir(Path(handle.workdir) / handle.node_id)
