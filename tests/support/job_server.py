"""Forks the processes of jobs from one that has imported the agent: starting Python for each costs half a second.

A forked job is a process like any other: detached, in a session of its own, with its own state file, and killed as one.
What is left out is the start of the interpreter. Tests of that start, and of what it reads (``PYTHONPATH``), launch
their jobs as production does; so do those that use the fixture ``as_in_production``.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.agent import launch
from airflow_restore_replay.core.jobs.node import NodeDir

#: variables that decide how an interpreter starts: with others than the server's, a job needs a start of its own
_STARTS = ("PYTHON", "LD_", "FAKETIME")
_SIZE = struct.Struct("!Q")
#: production's own
_LAUNCH = launch.launch


@dataclass(frozen=True)
class Job:
    """What a job's process starts with."""

    node: str
    attempt_no: int
    log_path: str
    payload: bytes
    environment: dict[str, str]


class JobServer:
    """Launches jobs in this test process's stead; it ends with its standard input."""

    def __init__(self) -> None:
        self._environment = launch.environment(NodeDir(Path()))
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.job_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=self._environment,
                cwd=Path(__file__).parents[2],
            )

    def launch(self, node: NodeDir, log_path: Path, payload: bytes, *, attempt_no: int) -> None:
        """See :func:`airflow_restore_replay.core.agent.launch.launch`."""
        environment = launch.environment(node)
        if _starts(environment) != _starts(self._environment):
            _LAUNCH(node, log_path, payload, attempt_no=attempt_no)
            return
        job = pickle.dumps(Job(str(node.path), attempt_no, str(log_path), payload, environment))
        self._socket.sendall(_SIZE.pack(len(job)) + job)
        assert self._socket.recv(1) == b"\n", "the server of jobs has died"

    def stop(self) -> None:
        self._socket.close()
        self.process.wait(10)


@contextmanager
def forked_jobs() -> Iterator[None]:
    """Let jobs of this process's nodes be forked for as long as the context lasts; the server starts with the first."""
    server: list[JobServer] = []

    def fork(node: NodeDir, log_path: Path, payload: bytes, *, attempt_no: int) -> None:
        if not server:
            server.append(JobServer())
        server[0].launch(node, log_path, payload, attempt_no=attempt_no)

    launch.launch = fork
    try:
        yield
    finally:
        launch.launch = _LAUNCH
        for started in server:
            started.stop()


@contextmanager
def launched_jobs() -> Iterator[None]:
    """Take :func:`forked_jobs` back for as long as the context lasts."""
    before, launch.launch = launch.launch, _LAUNCH
    try:
        yield
    finally:
        launch.launch = before


def _starts(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_STARTS)}


def serve(descriptor: int) -> None:
    """Fork a job for each request, until the other side is gone."""
    from setproctitle import setproctitle

    from tests.support import templates

    templates.initialize_from_templates()
    # No process waits for the jobs: their end is seen in the kernel's own tables.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads cannot be forked"
    requests = socket.socket(fileno=descriptor)
    with requests.makefile("rb") as received:
        while size := received.read(_SIZE.size):
            job = pickle.loads(received.read(_SIZE.unpack(size)[0]))
            if os.fork() == 0:
                os.close(descriptor)
                _become(job, setproctitle)
            requests.sendall(b"\n")


def _become(job: Job, set_title: Callable[[str], None]) -> None:
    """Be the job's process: what ``setsid python -m airflow_restore_replay.core.agent run`` would be."""
    status = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        log = os.open(job.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.chdir(job.node)
        os.environ.clear()
        os.environ.update(job.environment)
        module = "airflow_restore_replay.core.agent"
        set_title(f"{sys.executable} -m {module} run {job.node} {job.attempt_no}")
        sys.stdin = io.TextIOWrapper(io.BytesIO(job.payload))
        from airflow_restore_replay.core.agent.__main__ import main

        status = main(["run", job.node, str(job.attempt_no)])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    # What every job imports, once.
    import obstore  # noqa: F401

    import airflow_restore_replay.core.agent.runner
    import airflow_restore_replay.core.flavor.mariadb.flavor
    import airflow_restore_replay.core.flavor.mysql.flavor  # noqa: F401

    serve(int(sys.argv[1]))
