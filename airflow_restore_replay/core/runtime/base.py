"""Where a replay node lives. A runtime creates and destroys nodes, runs the agent there and reads its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.jobs.protocol import NodeHandle, NodeRequest, Secrets

if TYPE_CHECKING:
    from airflow_restore_replay.core.flavor.findings import Finding


class NodeAccess(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What it takes to be let in where nodes live, from whoever knows it; never written anywhere.

    :param private_key: its text. :param passphrase: of the private key. :param password: of the account.
    :param host_key: the only key that the host may show, as in a line of ``known_hosts``: ``ssh-ed25519 AAAA…``.
    :param registry, user: where the password is an account's of a registry of images.
    """

    private_key: str = ""
    passphrase: str = ""
    password: str = ""
    host_key: str = ""
    registry: str = ""
    user: str = ""

    def __repr__(self) -> str:
        return "NodeAccess(…)"


NO_ACCESS = NodeAccess()


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

    def probe(self, bindir: str | None) -> str:
        """Ask whether nodes can live there, by doing what they do.

        :returns: what was found, for people.
        :raises RestoreReplayError: they cannot.
        """
        ...

    def examine(self, cluster: Cluster, secrets: Secrets) -> list[Finding]:
        """:returns: every precondition of a cycle, as they are where its node would live."""
        ...

    def nodes(self) -> list[dict[str, Any]]:
        """:returns: every node this runtime can see, as the agent's ``describe`` has it, with ``host`` and
        ``disk_bytes``; of an unreadable one at least ``node_id``, ``phase``, ``workdir`` and ``host``.
        """
        ...


def get_runtime(cluster: Cluster, access: NodeAccess = NO_ACCESS) -> Runtime:
    """:returns: the runtime that the cluster's ``node.runtime`` names; it connects when it has to.
    :raises PreflightFailed: an optional package that it needs is not installed.
    """
    if cluster.node.runtime == "ssh":
        from airflow_restore_replay.core.runtime.ssh import ssh_runtime

        return ssh_runtime(cluster.node, access)
    if cluster.node.runtime == "docker":
        from airflow_restore_replay.core.runtime.docker import DockerRuntime

        return DockerRuntime(cluster, access)
    from airflow_restore_replay.core.runtime.process import ProcessRuntime

    return ProcessRuntime(cluster.node.workdir)
