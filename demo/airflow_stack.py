"""Airflow as operators run it: scheduler with LocalExecutor, dag processor, triggerer, API server."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

from demo.workspace import REPOSITORY_ROOT, Workspace, end, run_tool
from tests.support.mariadb import free_port

_PROCESSES = {
    "api-server": ["api-server", "--workers", "1"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}


class AirflowStack:
    """One Airflow installation in the workspace.

    :param connections: Airflow connections by id, as JSON; they travel in the environment only.
    """

    def __init__(self, space: Workspace, *, port: int | None = None) -> None:
        self._space = space
        self._home = space.root / "airflow"
        self._home.mkdir()
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._token = ""
        self.env = {**os.environ, **self._settings()}

    def _settings(self) -> dict[str, str]:
        home = self._home
        settings = {
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_FOLDER": str(REPOSITORY_ROOT / "dags"),
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "OPERATORS__DEFAULT_DEFERRABLE": "True",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__BASE_URL": self.url,
            "API__SECRET_KEY": secrets.token_hex(16),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            "SCHEDULER__ENABLE_TRACEMALLOC": "False",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        env = {f"AIRFLOW__{name}": value for name, value in settings.items()}
        env["AIRFLOW_HOME"] = str(home)
        env["RESTORE_REPLAY_CONFIG"] = str(self._space.cluster_file)
        env["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        return env

    @property
    def password(self) -> str:
        """:returns: the admin's, which Airflow made up."""
        passwords = json.loads((self._home / "passwords.json").read_text())
        return str(passwords["admin"])

    def add_connection(self, conn_id: str, fields: str) -> None:
        """Give a connection to processes started from now on."""
        self.env[f"AIRFLOW_CONN_{conn_id.upper()}"] = fields

    def migrate(self) -> None:
        """Create the metadata database."""
        run_tool("airflow", "db", "migrate", env=self.env)

    def start(self) -> None:
        """Start all processes; :meth:`wait_for` waits."""
        airflow = str(Path(sys.executable).parent / "airflow")
        for name, arguments in _PROCESSES.items():
            with (self._space.logs / f"airflow-{name}.log").open("wb") as log:
                self._children[name] = subprocess.Popen(
                    [airflow, *arguments], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def wait_for(self, *dag_ids: str, timeout_s: float = 180.0) -> None:
        """Wait until the API answers, the scheduler runs and the DAGs are there.

        :raises SystemExit: it did not come up; with where the logs are.
        """
        deadline = time.monotonic() + timeout_s
        missing = "the API server"
        while time.monotonic() < deadline:
            if dead := [name for name, child in self._children.items() if child.poll() is not None]:
                sys.exit(f"Airflow's {dead[0]} ended; see {self._space.logs}.")
            try:
                missing = self._missing(dag_ids)
            except (OSError, ValueError):
                missing = "the API server"
            if not missing:
                return
            time.sleep(0.5)
        errors = self.get("/api/v2/importErrors").get("import_errors", [])
        sys.exit(f"Airflow lacks {missing} after {timeout_s:.0f} s; see {self._space.logs}. {errors}")

    def _missing(self, dag_ids: tuple[str, ...]) -> str:
        health = self.get("/api/v2/monitor/health", patience_s=0)
        parts = ("scheduler", "dag_processor", "triggerer")
        unwell = [p for p in parts if (health.get(p) or {}).get("status") != "healthy"]
        known = {dag["dag_id"] for dag in self.get("/api/v2/dags")["dags"]}
        return ", ".join([*unwell, *(d for d in dag_ids if d not in known)])

    def get(self, path: str, *, patience_s: float = 120.0) -> Any:
        """Ask Airflow's public API; on a busy machine it may keep one waiting for a while."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self._call("GET", path, None)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            return self._request(method, path, body)
        except urllib.error.HTTPError as exc:
            if exc.code != 401:
                raise
            credentials = {"username": "admin", "password": self.password}
            self._token = self._request("POST", "/auth/token", credentials)["access_token"]
            return self._request(method, path, body)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """End all processes; the scheduler first, so that it starts nothing new."""
        for name in sorted(self._children, key=lambda name: name != "scheduler"):
            end(self._children[name])
        self._children.clear()
