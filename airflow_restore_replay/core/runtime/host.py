"""Base of runtimes whose nodes are directories of one host, where the agent performs all operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import PurePosixPath
from typing import Any, TypeVar

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decoding import convert, decode, encode
from airflow_restore_replay.core.errors import AgentFailed, PreflightFailed, WrongHost
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.jobs.protocol import (
    Answer,
    ExamineRequest,
    NodeHandle,
    NodeRequest,
    Secrets,
    is_node_id,
)

T = TypeVar("T")


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
        if request.volume:
            raise PreflightFailed(
                f"volume:{request.volume} is a place for node.runtime docker; this is {self.name}.",
                hint="Name a directory.",
            )
        made = information(self.agent("create", self.workdir, encode(request)))
        return NodeHandle(
            node_id=request.node_id,
            runtime=self.name,
            cluster=request.cluster.name,
            workdir=answer_field(made, "workdir", str),
            host=self.host,
        )

    def ask(self, handle: NodeHandle, command: str, payload: bytes) -> bytes:
        if handle.host != self.host:
            raise self.elsewhere(handle)
        return self.agent(command, node_directory(self.workdir, handle), payload)

    def destroy(self, handle: NodeHandle) -> None:
        information(self.ask(handle, "destroy", b"{}"))

    def nodes(self) -> list[dict[str, Any]]:
        return [{**node, "host": self.host} for node in nodes_in(self.agent("nodes", self.workdir, b"{}"))]

    def probe(self, bindir: str | None) -> str:
        found = information(self.agent("probe", self.workdir, encode({"bindir": bindir})))
        return answer_field(found, "found", str)

    def examine_cluster(self, cluster: Cluster, secrets: Secrets) -> list[Finding]:
        request = ExamineRequest(cluster=cluster, secrets=secrets)
        return findings_in(self.agent("examine", self.workdir, encode(request)))

    def elsewhere(self, handle: NodeHandle) -> WrongHost:
        """Return the error for a node that lives on another host."""
        return WrongHost(
            f"Replay node {handle.node_id} lives on host {handle.host}; node.host is now {self.host}.",
            hint="Clear the run from create_node, and remove the old node with `restore-replay node reap` there.",
        )


def node_directory(workdir: str, handle: NodeHandle) -> str:
    """Return the directory of a node, below the configured work directory.

    A handle travels by XCom, which more people may write than the configuration. So nothing of it becomes a path
    except for an id that has the form of a node's.

    :raises PreflightFailed: the id has another form.
    :raises WrongHost: the node was made below another work directory.
    """
    if not is_node_id(handle.node_id):
        raise PreflightFailed(
            f"{handle.node_id!r} is no id of a replay node.",
            hint="Clear the run from create_node; `restore-replay node list` shows the nodes.",
        )
    configured, made = PurePosixPath(workdir), PurePosixPath(handle.workdir)
    # The agent resolves a relative path against the directory that it starts in.
    if configured.is_absolute() and made != configured:
        raise WrongHost(
            f"Replay node {handle.node_id} lives in {handle.workdir}; node.workdir is now {workdir}.",
            hint="Clear the run from create_node, and remove the old node with `restore-replay node reap` there.",
        )
    return f"{workdir}/{handle.node_id}"


def findings_in(answer: bytes) -> list[Finding]:
    """Return the findings in an answer of the agent's ``examine``."""
    return answer_field(information(answer), "findings", list[Finding])


def nodes_in(answer: bytes) -> list[dict[str, Any]]:
    """Return the nodes in an answer of the agent's ``nodes``; what names no node is left out."""
    found = answer_field(information(answer), "nodes", list[dict[str, Any]])
    return [node for node in found if isinstance(node.get("node_id"), str)]


def answer_field(info: dict[str, Any], name: str, kind: type[T]) -> T:
    """Return a field of an agent's answer.

    :raises AgentFailed: it is missing, or not a *kind*.
    """
    try:
        return convert(info.get(name), kind)
    except msgspec.ValidationError as exc:
        raise AgentFailed(f"The agent's answer has no valid {name}: {exc}.") from exc


def answered(answer: bytes) -> Answer:
    """Decode an answer of the agent.

    :raises AgentFailed: it is none.
    """
    try:
        return decode(answer, Answer)
    except msgspec.MsgspecError as exc:
        raise AgentFailed(f"The agent's answer is not readable: {exc}.") from exc


def information(answer: bytes) -> dict[str, Any]:
    """Return the content of an answer that is not about a job.

    :raises RestoreReplayError: the command's failure, of its original class.
    """
    decoded = answered(answer)
    if decoded.failure:
        raise decoded.failure.to_exception()
    return decoded.info
