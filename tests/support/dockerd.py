"""The one place that starts a Docker engine: its own socket, its own data, nothing of it on the host's network."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.primary import free_port
from tests.support.processes import command_line, end, pids, session_of, sweep
from tests.support.tcp import TcpGate
from tests.support.tls import make_authority
from tests.support.unpacked import without

_TOOL = Path(__file__).parents[2] / "tools" / "node-images"
_START_TIMEOUT_S = 60.0


class Dockerd:
    """A private engine; a context manager. It needs root, and what ``tools/setup`` installs.

    No bridge, no iptables rules: containers have the host's network or none.

    :ivar url: its Unix socket. :ivar gate: what clients on TCP connect to, with TLS and a certificate of their own.
    """

    def __init__(self) -> None:
        # The socket's path must be short, and no test's directory is.
        self.root = Path(tempfile.mkdtemp(prefix="rr-docker-"))
        self.url = f"unix://{self.root}/docker.sock"
        self.log_path = self.root / "log"
        self.tls = make_authority(self.root / "tls")
        self._port = free_port()
        self.gate = TcpGate(self._port)
        (self.root / "daemon.json").write_text("{}", encoding="ascii")
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Dockerd:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: Any, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def node_section(self) -> dict[str, str]:
        """Return what a cluster's ``node`` needs to say to reach it over TCP."""
        return {
            "runtime": "docker",
            "engine": f"tcp://127.0.0.1:{self.gate.port}",
            "tls_ca": str(self.tls.ca),
            "tls_cert": str(self.tls.client_cert),
            "tls_key": str(self.tls.client_key),
        }

    def client(self) -> Any:
        """Return a new low-level client of the engine."""
        import docker

        return docker.APIClient(base_url=self.url, timeout=60)

    def stop(self) -> None:
        """End the engine, its containers and everything they mounted; remove its directory."""
        if self._process.poll() is None:
            with contextlib.suppress(Exception):
                self._remove_containers()
        self.gate.__exit__()
        end(self._process, patience_s=30)
        # What an engine that was killed leaves: its containerd is in its session, a container's shim names its socket.
        sweep(self._left)
        for mount in reversed(self._mounts()):
            subprocess.run(["umount", "--lazy", mount], check=False)
        assert self._mounts() == []
        shutil.rmtree(self.root)

    def _command(self) -> list[str]:
        return [
            "dockerd",
            f"--host={self.url}",
            f"--host=tcp://127.0.0.1:{self._port}",
            "--tlsverify",
            f"--tlscacert={self.tls.ca}",
            f"--tlscert={self.tls.cert}",
            f"--tlskey={self.tls.key}",
            f"--data-root={self.root / 'data'}",
            f"--exec-root={self.root / 'exec'}",
            f"--pidfile={self.root / 'pid'}",
            f"--config-file={self.root / 'daemon.json'}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ]

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"dockerd does not start:\n{self._tail()}"
            with contextlib.suppress(Exception):
                if (self.root / "docker.sock").exists() and self.client().ping():
                    return
            time.sleep(0.1)
        raise AssertionError(f"dockerd is not ready after {_START_TIMEOUT_S:.0f} s:\n{self._tail()}")

    def _remove_containers(self) -> None:
        client = self.client()
        for container in client.containers(all=True):
            client.remove_container(container["Id"], force=True, v=True)

    def _left(self) -> list[int]:
        own = f"{self.root}/"
        return [pid for pid in pids() if session_of(pid) == self._process.pid or own in command_line(pid)]

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        points = [line.split()[1] for line in lines]
        return [point for point in points if point.startswith(f"{self.root}/")]

    def _tail(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-3000:]


def provide_nodes(url: str | None, *flavors: str) -> list[str]:
    """Give an engine the images of those nodes: built, or as they were built before.

    :param url: of the engine; that of the environment without it.
    :returns: their names.
    """
    environment = {**os.environ, "PYTHON": sys.executable, **({"DOCKER_HOST": url} if url else {})}
    done = subprocess.run(
        [str(_TOOL), "--keep", *flavors], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"the images of nodes cannot be had:\n{done.stderr}"
    return done.stdout.split()


@contextlib.contextmanager
def node_engine(*flavors: str) -> Iterator[Dockerd]:
    """Yield an engine that has the images of nodes.

    If no engine can run, the tests fail; only ``RR_WITHOUT=docker`` makes that a skip.
    """
    if without("docker"):
        import pytest  # the demo runs where there is none

        pytest.skip("RR_WITHOUT=docker")
    with Dockerd() as engine:
        provide_nodes(engine.url, *flavors)
        yield engine
