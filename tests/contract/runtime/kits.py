"""What the contract needs of each runtime: to reach it, to break it, and to look at what it leaves."""

from __future__ import annotations

import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from docker.errors import APIError

from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus
from airflow_restore_replay.core.runtime.docker import MOUNT_POINT
from tests.support.dockerd import node_engine
from tests.support.rig import Rig, copy_repository, processes_in
from tests.support.sshd import Sshd
from tests.support.stores.s3 import CREDENTIALS
from tests.support.stores.seaweedfs import SeaweedFs


class RuntimeKit(ABC):
    """One runtime under test."""

    #: as ``node.runtime``
    name: str

    @contextmanager
    def running(self, root: Path) -> Iterator[None]:
        """What nodes need runs meanwhile: started once for all tests, and nothing of it left behind."""
        yield

    #: credentials of the object store that :meth:`section` names, if it does
    store: dict[str, str] = {}

    @abstractmethod
    def section(self) -> dict[str, Any]:
        """Return what the cluster's section needs beyond the rig's, so that nodes live here.

        If that is another repository than the rig's, it is a new one each time.
        """

    def copy_repository(self, source: Rig, target: Rig) -> None:
        copy_repository(source, target)

    def directory(self, root: Path) -> str:
        """Return where nodes may have their work directory."""
        return str(root)

    def break_connection(self) -> bool:
        """Cut what the worker has open to the node.

        :returns: whether there is such a thing with this runtime.
        """
        return False

    @abstractmethod
    def kill_job(self, rig: Rig) -> None:
        """SIGKILL the job that runs on the only node.

        :raises ValueError: none runs right now.
        """

    @abstractmethod
    def kill_server(self, rig: Rig) -> None:
        """SIGKILL the only node's database server; raises as :meth:`kill_job`."""

    @abstractmethod
    def kill_node(self, rig: Rig) -> None:
        """End everything of the only node at once, as a reboot of the machine or a killed container does."""

    @abstractmethod
    def modes(self, rig: Rig) -> set[str]:
        """Return the permissions of the only node's directory and of those that the server writes to, in octal."""

    @abstractmethod
    def left(self, rig: Rig) -> list[str]:
        """Return all remains of any node."""


class ProcessKit(RuntimeKit):
    name = "process"

    def section(self) -> dict[str, Any]:
        return {}

    def kill_job(self, rig: Rig) -> None:
        states = [
            msgspec.json.decode(p.read_bytes(), type=JobState) for p in rig.workdir.glob("*/jobs/*.json")
        ]
        (running,) = [s for s in states if s.status is JobStatus.RUNNING]
        os.kill(running.process.pid, signal.SIGKILL)

    def kill_server(self, rig: Rig) -> None:
        (state,) = rig.workdir.glob("*/agent/server.json")
        os.kill(int(msgspec.json.decode(state.read_bytes())["process"]["pid"]), signal.SIGKILL)

    def kill_node(self, rig: Rig) -> None:
        self.kill_job(rig)
        self.kill_server(rig)

    def modes(self, rig: Rig) -> set[str]:
        (node,) = rig.workdir.iterdir()
        return {oct((node / part).stat().st_mode & 0o777) for part in (".", "data", "run", "jobs")}

    def left(self, rig: Rig) -> list[str]:
        return [*map(str, rig.root.glob("nodes*")), *processes_in(rig.workdir)]


class SshKit(ProcessKit):
    """Nodes of this machine, reached as if it were another one."""

    name = "ssh"

    @contextmanager
    def running(self, root: Path) -> Iterator[None]:
        self.sshd = Sshd.start(root / "sshd")
        try:
            yield
        finally:
            self.sshd.stop()

    def section(self) -> dict[str, Any]:
        return {"node": {**self.sshd.node_section, "python": sys.executable}}

    def break_connection(self) -> bool:
        assert self.sshd.kill_sessions() > 0
        return True


class DockerKit(RuntimeKit):
    """Containers of a private engine, over TCP with TLS; they share the host's network, where primary and store are."""

    name = "docker"
    store = CREDENTIALS

    @contextmanager
    def running(self, root: Path) -> Iterator[None]:
        with node_engine("mariadb") as self.engine, SeaweedFs() as self.s3:
            self._docker = self.engine.client()
            yield

    def section(self) -> dict[str, Any]:
        image = {
            "image": "restore-replay-node-{flavor}:10.11",
            "network": "host",
            "memory": "1GiB",
            "cpus": 2,
        }
        spec = self.s3.spec(self.s3.new_bucket())
        return {
            "repository": {"url": spec.url, "options": spec.options.given()},
            "node": {**self.engine.node_section, **image, "workdir": MOUNT_POINT},
        }

    def copy_repository(self, source: Rig, target: Rig) -> None:
        old, new = (rig.cluster().repository.url.split("/")[2] for rig in (source, target))
        s3 = self.s3.boto()
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=old):
            for found in page.get("Contents", []):
                s3.copy_object(Bucket=new, Key=found["Key"], CopySource={"Bucket": old, "Key": found["Key"]})

    def directory(self, root: Path) -> str:
        return MOUNT_POINT

    def break_connection(self) -> bool:
        self.engine.gate.drop_connections()
        return True

    def jobs(self) -> list[JobState]:
        """Return the jobs of the only node; none if there is no node."""
        try:
            lines = self._inside("for file in */jobs/*.json; do cat $file; echo; done").splitlines()
        except (ValueError, APIError):
            return []
        return [msgspec.json.decode(line, type=JobState) for line in lines if line.startswith("{")]

    def kill_job(self, rig: Rig) -> None:
        (running,) = [s for s in self.jobs() if s.status is JobStatus.RUNNING]
        self._inside(f"kill -9 {running.process.pid}")

    def kill_server(self, rig: Rig) -> None:
        state = self._inside("cat */agent/server.json").strip()
        if not state.startswith("{"):
            raise ValueError(state)
        self._inside(f"kill -9 {msgspec.json.decode(state)['process']['pid']}")

    def kill_node(self, rig: Rig) -> None:
        self._docker.kill(self._container())

    def modes(self, rig: Rig) -> set[str]:
        said = self._inside("cd */jobs/.. && stat -c %a . data run jobs")
        return {f"0o{mode}" for mode in said.split()}

    def left(self, rig: Rig) -> list[str]:
        containers = [container["Names"][0] for container in self._docker.containers(all=True)]
        return containers + [volume["Name"] for volume in self._docker.volumes()["Volumes"] or []]

    def _container(self) -> str:
        """Return the id of the only container.

        :raises ValueError: there is not exactly one.
        """
        (container,) = self._docker.containers()
        return str(container["Id"])

    def _inside(self, script: str) -> str:
        made = self._docker.exec_create(self._container(), ["sh", "-c", script])
        return bytes(self._docker.exec_start(made)).decode()


KITS: dict[str, type[RuntimeKit]] = {kit.name: kit for kit in (ProcessKit, SshKit, DockerKit)}
