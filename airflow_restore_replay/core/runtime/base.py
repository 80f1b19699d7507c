"""The runtime interface: create and destroy replay nodes, run the agent on them and read its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.jobs.protocol import NodeHandle, NodeRequest, Secrets

if TYPE_CHECKING:
    from airflow_restore_replay.core.flavor.findings import Finding


class NodeAccess(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Credentials for the place where nodes live; never stored.

    :param private_key: text of the private key.
    :param passphrase: passphrase of the private key.
    :param password: password of the account on the host, or of *user* at *registry*.
    :param host_key: the only host key that is accepted, as in a line of ``known_hosts``: ``ssh-ed25519 AAAA…``.
    :param registry, user: an image registry, and the account there.
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
    """The place where replay nodes live: process, docker or ssh."""

    name: str

    def create(self, request: NodeRequest) -> NodeHandle:
        """Create the node, or return the existing one of that id; an incomplete node is removed before an error."""
        ...

    def ask(self, handle: NodeHandle, command: str, payload: bytes) -> bytes:
        """Run one agent command on the node and return its answer; *payload* and answer are JSON.

        :raises NodeGone: the node does not exist.
        :raises WrongHost: the node lives on another host than this runtime's.
        :raises NodeUnreachable: the node's state is unknown; its job keeps running.
        """
        ...

    def destroy(self, handle: NodeHandle) -> None:
        """Stop all processes of the node and remove it; idempotent."""
        ...

    def probe(self, bindir: str | None) -> str:
        """Check that nodes can run there, by performing their operations.

        :returns: the result as text for people.
        :raises RestoreReplayError: nodes cannot run there.
        """
        ...

    def examine_cluster(self, cluster: Cluster, secrets: Secrets) -> list[Finding]:
        """Return all preconditions of a cycle, examined where its node would live."""
        ...

    def nodes(self) -> list[dict[str, Any]]:
        """Return all nodes that this runtime can see, as the agent's ``describe`` returns them.

        Each has ``host`` and ``disk_bytes``. A node that cannot be read has at least ``node_id``, ``phase``,
        ``workdir`` and ``host``.
        """
        ...
