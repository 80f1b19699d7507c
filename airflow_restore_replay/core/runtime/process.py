"""Nodes as directories and processes of this host: the default."""

from __future__ import annotations

import socket
from pathlib import Path

from airflow_restore_replay.core.agent.dispatch import answer
from airflow_restore_replay.core.errors import WrongHost
from airflow_restore_replay.core.jobs.protocol import NodeHandle
from airflow_restore_replay.core.runtime.host import HostRuntime


class ProcessRuntime(HostRuntime):
    """Runtime whose nodes are directories and processes of this host.

    :param workdir: parent of all nodes' directories on this host.
    """

    name = "process"

    def __init__(self, workdir: str) -> None:
        super().__init__(workdir=str(Path(workdir).absolute()), host=socket.gethostname())

    def agent(self, command: str, directory: str, payload: bytes) -> bytes:
        # The agent runs on this host, so it is called without a process of its own.
        return answer(command, Path(directory), payload)

    def elsewhere(self, handle: NodeHandle) -> WrongHost:
        return WrongHost(
            f"Replay node {handle.node_id} lives on host {handle.host}, this is {self.host}.",
            hint="Give the cluster node.queue, and let only workers of that host listen to it.",
        )
