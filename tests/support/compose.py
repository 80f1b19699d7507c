"""Docker Compose on a private engine: the tour of docker-compose.yaml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.airflow_api import AirflowApi
from tests.support.primary import free_port
from tests.support.unpacked import programs

REPO = Path(__file__).parents[2]


class Compose:
    """Docker Compose with an engine.

    :param engine: URL of the engine's Unix socket."""

    def __init__(self, engine: str) -> None:
        self.port = free_port()
        self._environment = {
            **os.environ,
            "DOCKER_HOST": engine,
            "DOCKER_SOCKET": engine.removeprefix("unix://"),
            "PORT": str(self.port),
            "PYTHON": sys.executable,
        }

    def build(self) -> None:
        """Give the engine all images, without a registry."""
        self._run(str(REPO / "tools" / "tour-images"), "--keep")

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Return the standard output of Compose.

        :raises AssertionError: Compose fails.
        """
        return self._run(f"{programs('docker-compose')}/docker-compose", *arguments, stdin=stdin)

    def config(self) -> Any:
        """Return the file as Compose understands it."""
        return json.loads(self("config", "--format", "json"))

    def _run(self, *command: str, stdin: str = "") -> str:
        done = subprocess.run(
            command, cwd=REPO, env=self._environment, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done.stdout


class TourApi(AirflowApi):
    """Airflow's API through the one port that the tour publishes."""

    def __init__(self, compose: Compose) -> None:
        super().__init__(f"http://127.0.0.1:{compose.port}")
        self._compose = compose

    @property
    def password(self) -> str:
        found = json.loads(self._compose("exec", "-T", "api-server", "cat", "passwords.json"))
        return str(found["admin"])
