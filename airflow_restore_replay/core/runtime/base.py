"""Where a replay node lives. A runtime creates and destroys nodes, runs the agent there and reads its answer."""

from __future__ import annotations

from typing import Any, Protocol

from airflow_restore_replay.core.cluster import Cluster
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.jobs.protocol import NodeHandle, NodeRequest


class Runtime(Protocol):
    """One of process, docker, ssh."""

    name: str

    def create(self, request: NodeRequest) -> NodeHandle:
        """Create the node, or find the one of that id; half a node is cleaned up before an error leaves."""
        ...

    def ask(self, handle: NodeHandle, command: str, payload: bytes) -> bytes:
        """Run one agent command on the node and read its answer, JSON both ways.

        :raises NodeGone: the node does not exist.
        :raises WrongHost: the node lives on another host than this runtime reaches.
        :raises NodeUnreachable: nothing is known of the node, and its job goes on.
        """
        ...

    def destroy(self, handle: NodeHandle) -> None:
        """Stop everything of the node and remove it; idempotent."""
        ...

    def nodes(self) -> list[dict[str, Any]]:
        """:returns: every node this runtime can see, as the agent's ``describe`` has it, with ``host`` and
        ``disk_bytes``; of an unreadable one at least ``node_id``, ``phase``, ``workdir`` and ``host``.
        """
        ...


def get_runtime(cluster: Cluster) -> Runtime:
    """:returns: the runtime that the cluster's ``node.runtime`` names."""
    if cluster.node.runtime == "process":
        from airflow_restore_replay.core.runtime.process import ProcessRuntime

        return ProcessRuntime(cluster.node.workdir)
    if cluster.node.runtime == "docker":
        from airflow_restore_replay.core.runtime.docker import DockerRuntime

        return DockerRuntime(cluster)
    raise ConfigInvalid(f"clusters.{cluster.name}.node.runtime: unknown runtime {cluster.node.runtime!r}.")
