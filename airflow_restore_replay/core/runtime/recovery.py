"""Restores and drills where a cluster's nodes live: the place that is asked for, the node of the job, and its end."""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decisions.attempts import RECOVERY
from airflow_restore_replay.core.errors import (
    NodeGone,
    NodeUnreachable,
    PreflightFailed,
    RestoreReplayError,
    TargetNotEmpty,
)
from airflow_restore_replay.core.jobs.protocol import (
    JobName,
    JobRequest,
    JobState,
    JobStatus,
    NodeHandle,
    NodeRequest,
    RunRef,
    Secrets,
    request_digest,
)
from airflow_restore_replay.core.recovery.copy_server import Commands
from airflow_restore_replay.core.recovery.errand import Done
from airflow_restore_replay.core.recovery.order import Order
from airflow_restore_replay.core.recovery.plan import Plan
from airflow_restore_replay.core.runtime.base import Runtime
from airflow_restore_replay.core.runtime.client import NodeClient, result_of
from airflow_restore_replay.core.runtime.images import image_name
from airflow_restore_replay.core.runtime.nodes import job_request, node_id_for
from airflow_restore_replay.core.runtime.waiter import Waiter

log = logging.getLogger(__name__)

#: where a container of a node mounts the volume that a restore goes to; a directory of the image as well
RESTORED = "/var/lib/restored"
_VOLUME = "volume:"
# Source: Docker Engine, daemon/names/names.go
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@dataclass(frozen=True)
class Place:
    """Where a restore on a node's host goes.

    :param directory: the directory, as the job sees it; empty for one that only the job needs.
    :param volume: Docker's name of the volume that is mounted there; empty for a directory of the host.
    """

    directory: str
    volume: str = ""

    @classmethod
    def of(cls, cluster: Cluster, target: str) -> Place:
        """Return the place that *target* names: an absolute path, ``volume:NAME``, or an empty string.

        :raises PreflightFailed: nodes of *cluster* cannot restore there.
        """
        docker = cluster.node.runtime == "docker"
        if is_volume(target):
            name = target.removeprefix(_VOLUME)
            if not docker:
                raise PreflightFailed(
                    f"{target} is a place for node.runtime docker; that of {cluster.name} is "
                    f"{cluster.node.runtime}.",
                    hint="Name a directory of the node's host.",
                )
            if not _VOLUME_NAME.fullmatch(name):
                raise PreflightFailed(f"{name!r} is no name of a Docker volume.")
            return cls(RESTORED, name)
        if docker:
            raise PreflightFailed(
                "A directory of a node's container is gone with the container.",
                hint="Restore into a volume: --to volume:NAME.",
            )
        if target and not PurePosixPath(target).is_absolute():
            raise PreflightFailed(
                f"{target!r} is not an absolute path, and the restore runs on the host of nodes.",
                hint="Write the whole path.",
            )
        return cls(target)

    def refuse(self, order: Order) -> None:
        """Raise if a restore into this place cannot do what *order* asks for.

        :raises PreflightFailed: names what it cannot do, and what to do instead.
        """
        asked = [
            name
            for name, given in (("--start", order.copy), ("--dump", order.dump), ("--into", order.into))
            if given
        ]
        if self.volume and asked:
            raise PreflightFailed(
                f"{asked[0]} needs a server that ends with the container of the restore.",
                hint="Restore into the volume without it, and start a container on the volume by the command that is "
                "printed then; dump from that.",
            )

    def planned(self, plan: Plan) -> Plan:
        """Return *plan* with the place as people name it."""
        return msgspec.structs.replace(plan, target=f"{_VOLUME}{self.volume}") if self.volume else plan

    def shown(self, cluster: Cluster, release: str, done: Done) -> Done:
        """Return *done* with the place as people name it, and with commands that work outside of the container."""
        if not self.volume:
            return done
        target = f"{_VOLUME}{self.volume}"
        image = image_name(cluster.node.image or "", flavor=cluster.flavor, release=release)
        return replace(
            done,
            restored=replace(done.restored, target=target),
            moment=done.moment and replace(done.moment, target=target),
            commands=_in_container(f"restored-{self.volume}", self.volume, image, done.commands),
        )


def is_volume(target: str) -> bool:
    """Return whether *target* names a Docker volume."""
    return target.startswith(_VOLUME)


def recovery_request(cluster: Cluster, key: str, *, release: str, volume: str = "") -> NodeRequest:
    """Return the request for the node of a restore or drill; the same *key* names the same node.

    :param release: that the server needs at least, by which an image is chosen.
    """
    return NodeRequest(
        node_id=node_id_for(cluster.name, key),
        run=RunRef(run=key, attempt=RECOVERY),
        cluster=cluster,
        release=release,
        volume=volume,
    )


def recover_on_node(
    runtime: Runtime,
    node: NodeRequest,
    job: JobName,
    params: dict[str, Any],
    secrets: Secrets,
    *,
    on_state: Callable[[JobState], None],
) -> dict[str, Any]:
    """Run a job of recovery on its node, and wait for it; an interrupt ends it, and the node is always destroyed.

    A call after one that was killed waits for the job that still runs.

    :returns: the job's result.
    :raises TargetNotEmpty: the node runs a job with another order.
    :raises NodeUnreachable: the connection was lost; the job continues.
    :raises RestoreReplayError: the job's failure.
    """
    request = job_request(node.cluster, node.run, job, key=job.value, params=params, secrets=secrets)
    handle = runtime.create(node)
    client = NodeClient(runtime, handle)
    ours = True
    try:
        state = _submitted(runtime, node, client, request)
        if state.request != request_digest(request):
            ours = False
            raise TargetNotEmpty(
                f"Another restore of {node.run.run} runs on {handle.host}.",
                hint="Wait for it, or give the same command as it was given to end it.",
            )
        return result_of(Waiter(lambda: client.status(request.key), on_state).wait())
    except NodeUnreachable:
        ours = False
        raise
    finally:
        if ours:
            end_recovery(runtime, handle, request.key)


def end_recovery(runtime: Runtime, handle: NodeHandle, key: str) -> None:
    """End the job of a restore, and destroy its node; what was restored stays. Raises nothing about the node."""
    try:
        NodeClient(runtime, handle).cancel(key)
    except NodeGone:
        pass
    except RestoreReplayError as exc:
        log.warning("The restore's job was not ended: %s", exc)
    try:
        runtime.destroy(handle)
    except RestoreReplayError as exc:
        log.warning("The restore's node %s was not removed, the reaper will: %s", handle.node_id, exc)


def _submitted(runtime: Runtime, node: NodeRequest, client: NodeClient, request: JobRequest) -> JobState:
    """Submit the job, or attach to it if it runs; a job that has ended belongs to an earlier call, and is forgotten."""
    with contextlib.suppress(NodeGone):
        if client.status(request.key).status is not JobStatus.RUNNING:
            runtime.destroy(client.handle)
            client.handle = runtime.create(node)
    return client.submit(request)


def _in_container(name: str, volume: str, image: str, commands: Commands) -> Commands:
    """Return *commands*, which are for a shell in a container with the volume, as commands for Docker's client."""
    if not commands.start:
        return commands
    mount = f"{volume}:{RESTORED}"
    options = ["--detach", "--init", "--network", "none", "--name", name, "--volume", mount]
    return Commands(
        start=shlex.join(["docker", "run", *options, image, "sh", "-c", f"exec env {commands.start}"]),
        connect=f"docker exec --interactive --tty {name} {commands.connect}",
        stop=f"docker stop --time 600 {name} && docker rm {name}",
    )
