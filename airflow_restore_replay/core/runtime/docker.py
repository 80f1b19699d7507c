"""Nodes as containers: one container and one volume each, which are found by their labels."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.errors import (
    ConfigInvalid,
    NodeGone,
    PreflightFailed,
    RestoreReplayError,
    TargetNotEmpty,
    WrongHost,
)
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.jobs.protocol import ExamineRequest, NodeHandle, NodeRequest, Secrets
from airflow_restore_replay.core.repository.format.records import new_id, utc_now
from airflow_restore_replay.core.runtime.base import NO_ACCESS, NodeAccess
from airflow_restore_replay.core.runtime.container import ContainerTransport
from airflow_restore_replay.core.runtime.engine import APIError, Engine, NotFound
from airflow_restore_replay.core.runtime.host import (
    answer_field,
    findings_in,
    information,
    node_directory,
    nodes_in,
)
from airflow_restore_replay.core.runtime.images import depends_on_release, release_needed, suitable_image
from airflow_restore_replay.core.runtime.recovery import RESTORED
from airflow_restore_replay.core.runtime.remote import RemoteAgent, agent_argv, retry_unreachable

#: where a node's volume is mounted; images have that directory, owned by the user that they run as
MOUNT_POINT = "/var/lib/restore-replay"
_PREFIX = "restore-replay."
#: time limit for jobs to end before their container is killed, and for a node's answer about itself
_PATIENCE_S = 30.0
#: HTTP status codes of requests for which a retry is useless
_REFUSALS = (400, 404)
#: states of a container whose programs may write
_IN_USE = ("running", "paused", "restarting")
#: age at which the reaper removes the node of a visit that was killed
_VISIT_S = 600.0
#: size of /tmp; all large files are on the node's volume
_TMP_BYTES = 64 * 1024 * 1024


class DockerRuntime:
    """The containers of one project on one engine.

    :param access: the account of a registry to pull images from.
    :raises ConfigInvalid: the repository is a directory, which containers cannot access, or ``node.workdir`` is outside
        the nodes' volume.
    """

    name = "docker"

    def __init__(self, cluster: Cluster, access: NodeAccess = NO_ACCESS) -> None:
        self._cluster = cluster
        self._spec = cluster.node
        self._engine = Engine(cluster.node, access)
        if not f"{self._spec.workdir}/".startswith(f"{MOUNT_POINT}/"):
            raise ConfigInvalid(
                f"clusters.{cluster.name}.node.workdir: in a container, it must be {MOUNT_POINT} or below it."
            )
        if cluster.repository.url.startswith("file:"):
            raise ConfigInvalid(
                f"clusters.{cluster.name}.repository.url: {cluster.repository.url} is a directory of this host, "
                "which a node in a container does not see.",
                hint="Use an object store, or another node.runtime.",
            )

    def create(self, request: NodeRequest) -> NodeHandle:
        image = retry_unreachable(lambda: suitable_image(self._engine, self._cluster, request.release))
        name = self._container(request.node_id)
        if request.volume:
            retry_unreachable(lambda: self._refuse_used(request.volume, name))
        try:
            labels = self._labels(
                request.node_id, request.run.run, request.run.attempt, max_age_s=self._spec.max_age
            )
            retry_unreachable(lambda: self._make(name, image, labels, request.volume))
            made = information(self._agent(name)("create", self._spec.workdir, encode(request)))
        except BaseException:
            with contextlib.suppress(RestoreReplayError):
                self._remove(name)
            raise
        return NodeHandle(
            node_id=request.node_id,
            runtime=self.name,
            cluster=self._cluster.name,
            workdir=str(made["workdir"]),
            host=self._engine.name,
        )

    def ask(self, handle: NodeHandle, command: str, payload: bytes) -> bytes:
        try:
            agent = self._agent(self._container(handle.node_id))
            return agent(command, node_directory(self._spec.workdir, handle), payload)
        except NodeGone:
            self._refuse_elsewhere(handle)
            raise

    def destroy(self, handle: NodeHandle) -> None:
        self._refuse_elsewhere(handle)
        directory = node_directory(self._spec.workdir, handle)
        name = self._container(handle.node_id)
        self._end_jobs(name, directory)
        self._remove(name)

    def _refuse_used(self, volume: str, name: str) -> None:
        """Raise if another container than *name* runs with *volume*.

        :raises TargetNotEmpty: names the container.
        """
        with self._engine.failures():
            found = self._engine.client.containers(all=True, filters={"volume": volume})
        for container in found:
            used_by = container["Names"][0].removeprefix("/")
            if used_by != name and container["State"] in _IN_USE:
                raise TargetNotEmpty(
                    f"The container {used_by} uses the volume {volume}.",
                    hint="Stop it first, or restore into another volume.",
                )

    def _refuse_elsewhere(self, handle: NodeHandle) -> None:
        """Raise if the node does not live on this engine.

        :raises WrongHost: another engine has the node.
        """
        if handle.host != self._engine.name:
            raise WrongHost(
                f"Replay node {handle.node_id} lives on the engine of {handle.host}, this one is "
                f"{self._engine.name}'s.",
                hint="Set node.engine to one that all workers reach, or give the cluster node.queue.",
            )

    def probe(self, bindir: str | None) -> str:
        if depends_on_release(self._spec.image or ""):
            return f"Docker engine {self._engine.name}; image {self._spec.image} depends on the backup."
        image = suitable_image(self._engine, self._cluster, "")
        payload = encode({"bindir": bindir})
        found = answer_field(information(self._visit(image, "probe", payload)), "found", str)
        return f"Docker engine {self._engine.name}, image {image}. {found}"

    def examine_cluster(self, cluster: Cluster, secrets: Secrets) -> list[Finding]:
        request = ExamineRequest(cluster=cluster, secrets=secrets)
        image = suitable_image(self._engine, self._cluster, release_needed(cluster, None, secrets))
        return findings_in(self._visit(image, "examine", encode(request)))

    def _visit(self, image: str, command: str, payload: bytes) -> bytes:
        """Run one agent command in a container and volume like those of a node, and remove both."""
        node_id = f"visit-{new_id().lower()}"
        name = self._container(node_id)
        labels = self._labels(node_id, "visit", "", max_age_s=_VISIT_S)
        try:
            retry_unreachable(lambda: self._make(name, image, labels))
            return self._agent(name)(command, self._spec.workdir, payload)
        finally:
            self._remove(name)

    def nodes(self) -> list[dict[str, Any]]:
        """Return this cluster's nodes as their agents describe them, and other clusters' nodes from their labels."""
        found: dict[str, dict[str, Any]] = {}
        chosen = {"label": [f"{_PREFIX}node", f"{_PREFIX}project={self._spec.project}"]}
        volumes, containers = retry_unreachable(lambda: self._listed(chosen))
        # A volume without a container is an incomplete node; it is listed so that the reaper can remove it.
        for volume in volumes:
            node = self._from_labels(volume["Labels"], "no container")
            found[node["node_id"]] = node
        for container in containers:
            node = self._from_labels(container["Labels"], container["State"])
            if node["cluster"] == self._cluster.name and container["State"] == "running":
                node |= self._told(node)
            found[node["node_id"]] = node
        return [found[node_id] for node_id in sorted(found)]

    def _listed(self, chosen: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        with self._engine.failures():
            volumes = self._engine.client.volumes(filters=chosen)["Volumes"] or []
            return volumes, self._engine.client.containers(all=True, filters=chosen)

    def _make(self, name: str, image: str, labels: dict[str, str], volume: str = "") -> None:
        """Create the volume and the running container, or use those of an earlier try.

        :raises PreflightFailed: the engine refuses the container's settings.
        """
        with self._engine.failures():
            client = self._engine.client
            try:
                client.create_volume(name, labels=labels)
                if not client.containers(all=True, filters={"name": f"^/{name}$"}):
                    # The main process only waits; the agent runs beside it. PID 1 is Docker's init, which reaps the
                    # orphaned processes of jobs.
                    client.create_container(
                        image,
                        ["sleep", "infinity"],
                        name=name,
                        labels=labels,
                        host_config=client.create_host_config(**self._limits(name, volume)),
                    )
                client.start(name)
            except APIError as exc:
                if exc.status_code not in _REFUSALS:
                    raise
                raise PreflightFailed(
                    f"The Docker engine of {self._engine.name} does not run a node of image {image}: "
                    f"{exc.explanation}.",
                    hint="Compare node.network, memory and cpus with what it has.",
                ) from exc

    def _limits(self, name: str, volume: str = "") -> dict[str, Any]:
        spec = self._spec
        return {
            "init": True,
            "binds": [f"{name}:{MOUNT_POINT}", *([f"{volume}:{RESTORED}"] if volume else [])],
            "network_mode": spec.network,
            "read_only": True,
            "tmpfs": {"/tmp": f"rw,nosuid,nodev,noexec,size={_TMP_BYTES},mode=1777"},
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "mem_limit": spec.memory,
            "nano_cpus": int(spec.cpus * 1_000_000_000) if spec.cpus else None,
        }

    def _labels(self, node_id: str, run: str, attempt: str, *, max_age_s: float) -> dict[str, str]:
        """Return the labels by which the reaper decides if no agent answers; they hold no secrets."""
        now = utc_now()
        labels = {
            "project": self._spec.project,
            "node": node_id,
            "cluster": self._cluster.name,
            "run": run,
            "attempt": attempt,
            "created-at": now.isoformat(),
            "expires-at": (now + timedelta(seconds=max_age_s)).isoformat(),
        }
        return {f"{_PREFIX}{name}": value for name, value in labels.items()}

    def _from_labels(self, labels: dict[str, str], state: str) -> dict[str, Any]:
        values = {key.removeprefix(_PREFIX): value for key, value in labels.items()}
        return {
            "node_id": values["node"],
            "cluster": values.get("cluster", ""),
            "run": values.get("run", ""),
            "attempt": values.get("attempt", ""),
            "created_at": values.get("created-at"),
            "expires_at": values.get("expires-at"),
            "phase": state,
            "job": "",
            "workdir": self._spec.workdir,
            "host": self._engine.name,
        }

    def _told(self, node: dict[str, Any]) -> dict[str, Any]:
        with contextlib.suppress(RestoreReplayError, msgspec.MsgspecError):
            answer = self._ask_once(self._container(node["node_id"]), "nodes", self._spec.workdir)
            for told in nodes_in(answer):
                if told["node_id"] == node["node_id"]:
                    return dict(told)
        return {}

    def _end_jobs(self, name: str, directory: str) -> None:
        """Let jobs clean up what they have begun in the store; the container is removed even if they do not."""
        with contextlib.suppress(RestoreReplayError, NotFound), self._engine.failures():
            if not self._engine.client.inspect_container(name)["State"]["Running"]:
                return
            self._ask_once(name, "destroy", directory)

    def _ask_once(self, name: str, command: str, directory: str) -> bytes:
        """Ask an agent once, without retries: it may be unable to answer, and its answer is optional."""
        argv = agent_argv(self._spec.python, command, directory)
        return ContainerTransport(self._engine, name).run(argv, b"{}", timeout_s=_PATIENCE_S).stdout

    def _remove(self, name: str) -> None:
        retry_unreachable(lambda: self._remove_once(name))

    def _remove_once(self, name: str) -> None:
        # Another caller may be removing the container, and the volume with it.
        with self._engine.failures(conflicts_end=True):
            with contextlib.suppress(NotFound):
                self._engine.client.remove_container(name, force=True)
            with contextlib.suppress(NotFound):
                self._engine.client.remove_volume(name, force=True)

    def _agent(self, container: str) -> RemoteAgent:
        return RemoteAgent(ContainerTransport(self._engine, container), self._spec.python)

    def _container(self, node_id: str) -> str:
        return f"{self._spec.project}-{node_id}"
