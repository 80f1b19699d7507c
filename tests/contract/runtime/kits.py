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

from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus
from tests.support.rig import Rig, processes_in
from tests.support.sshd import Sshd


class RuntimeKit(ABC):
    """One runtime under test."""

    #: as ``node.runtime``
    name: str

    @contextmanager
    def running(self, root: Path) -> Iterator[None]:
        """What nodes need runs meanwhile: started once for all tests, and nothing of it left behind."""
        yield

    @abstractmethod
    def section(self) -> dict[str, Any]:
        """:returns: what the cluster's section says beyond what the rig does, so that nodes live here."""

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
        """:returns: the permissions of the only node's directory and of those that the server writes to, in octal."""

    @abstractmethod
    def left(self, rig: Rig) -> list[str]:
        """:returns: whatever there still is of any node."""


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
        (state,) = rig.workdir.glob("*/run/server.json")
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


KITS: dict[str, type[RuntimeKit]] = {kit.name: kit for kit in (ProcessKit, SshKit)}
