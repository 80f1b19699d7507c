"""Base of runtimes whose nodes are directories of one host, where the agent performs all operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decoding import convert, decode, encode
from airflow_restore_replay.core.errors import WrongHost
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.jobs.protocol import Answer, ExamineRequest, NodeHandle, NodeRequest, Secrets


class HostRuntime(ABC):
    """Runtime whose nodes are directories of one host.

    :param workdir: parent of all nodes' directories on the host.
    :param host: name of the host in node handles.
    """

    name: str

    def __init__(self, *, workdir: str, host: str) -> None:
        self.workdir = workdir
        self.host = host

    @abstractmethod
    def agent(self, command: str, directory: str, payload: bytes) -> bytes:
        """Run one agent command on the host.

        :param directory: directory of a node, or the work directory.
        :returns: its :class:`Answer`, as JSON.
        """

    def create(self, request: NodeRequest) -> NodeHandle:
        made = information(self.agent("create", self.workdir, encode(request)))
        return NodeHandle(
            node_id=request.node_id,
            runtime=self.name,
            cluster=request.cluster.name,
            workdir=str(made["workdir"]),
            host=self.host,
        )

    def ask(self, handle: NodeHandle, command: str, payload: bytes) -> bytes:
        if handle.host != self.host:
            raise self.elsewhere(handle)
        return self.agent(command, f"{handle.workdir}/{handle.node_id}", payload)

    def destroy(self, handle: NodeHandle) -> None:
        information(self.ask(handle, "destroy", b"{}"))

    def nodes(self) -> list[dict[str, Any]]:
        found = information(self.agent("nodes", self.workdir, b"{}"))["nodes"]
        return [{**node, "host": self.host} for node in found]

    def probe(self, bindir: str | None) -> str:
        found = information(self.agent("probe", self.workdir, encode({"bindir": bindir})))
        return str(found["found"])

    def examine_cluster(self, cluster: Cluster, secrets: Secrets) -> list[Finding]:
        request = ExamineRequest(cluster=cluster, secrets=secrets)
        return findings_in(self.agent("examine", self.workdir, encode(request)))

    def elsewhere(self, handle: NodeHandle) -> WrongHost:
        """Return the error for a node that lives on another host."""
        return WrongHost(
            f"Replay node {handle.node_id} lives on host {handle.host}; node.host is now {self.host}.",
            hint="Clear the run from create_node, and remove the old node with `restore-replay node reap` there.",
        )


def findings_in(answer: bytes) -> list[Finding]:
    """Return the findings in an answer of the agent's ``examine``."""
    return convert(information(answer)["findings"], list[Finding])


def information(answer: bytes) -> dict[str, Any]:
    """Return the content of an answer that is not about a job.

    :raises RestoreReplayError: the command's failure, of its original class.
    """
    decoded = decode(answer, Answer)
    if decoded.failure:
        raise decoded.failure.to_exception()
    return decoded.info
