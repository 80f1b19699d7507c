"""The one place that starts Airflow as operators run it, for tests, the demo and benchmarks: scheduler with
LocalExecutor, dag processor, triggerer, API server."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.support.airflow_api import AirflowApi
from tests.support.mariadb import free_port
from tests.support.processes import command_line, end, marked, pids, session_of, signal_if_there, sweep

#: in the environment of the jobs that a stack's tasks start; Airflow's own processes overwrite theirs with a title
MARKER = "RESTORE_REPLAY_STACK"

_PROCESSES = {
    "api-server": ["api-server", "--workers", "1"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}


class AirflowStack(AirflowApi):
    """One Airflow installation.

    :param home: an empty directory for it. :param dags: the DAGs folder. :param logs: for its processes' output.
    :param database: SQLAlchemy URL of the metadata database; SQLite in *home* unless given.
    :param settings: further ones by ``SECTION__KEY``. :param env: further environment variables.
    :param workers: further processes: name → arguments of ``airflow``.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags: Path,
        logs: Path,
        database: str | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        workers: Mapping[str, list[str]] | None = None,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.logs = logs
        self.port = port or free_port()
        super().__init__(f"http://127.0.0.1:{self.port}")
        self._marker = secrets.token_hex(8)
        self._programs = {**_PROCESSES, **(workers or {})}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: set[int] = set()
        self._starting = threading.Lock()
        found = {**self._settings(dags, database or f"sqlite:///{home}/airflow.db"), **(settings or {})}
        self.env = {
            **os.environ,
            **{f"AIRFLOW__{name}": value for name, value in found.items()},
            "AIRFLOW_HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            MARKER: self._marker,
            **(env or {}),
        }

    def _settings(self, dags: Path, database: str) -> dict[str, str]:
        return {
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_FOLDER": str(dags),
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "OPERATORS__DEFAULT_DEFERRABLE": "True",
            "DATABASE__SQL_ALCHEMY_CONN": database,
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__BASE_URL": self.url,
            "API__SECRET_KEY": secrets.token_hex(16),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            "SCHEDULER__ENABLE_TRACEMALLOC": "False",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    @property
    def password(self) -> str:
        """Return the admin's password, which Airflow generated."""
        passwords = json.loads((self.home / "passwords.json").read_text())
        return str(passwords["admin"])

    def exports(self) -> str:
        """Return lines for a shell, after which ``airflow`` commands there are about this installation."""
        wanted = [n for n in self.env if n.startswith(("AIRFLOW_", "RESTORE_REPLAY_"))]
        return "".join(f"export {name}={shlex.quote(self.env[name])}\n" for name in sorted(wanted))

    def add_connection(self, conn_id: str, fields: str) -> None:
        """Give a connection, as JSON, to processes started from now on; it travels in the environment only."""
        self.env[f"AIRFLOW_CONN_{conn_id.upper()}"] = fields

    def migrate(self) -> subprocess.Popen[bytes]:
        """Begin to create the metadata database; wait for what this returns."""
        return self._launch("migrate", "db", "migrate")

    def cli(self, *arguments: str) -> str:
        """Run Airflow's command line.

        :returns: what it printed.
        :raises RuntimeError: it failed.
        """
        done = subprocess.run([_AIRFLOW, *arguments], env=self.env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"airflow {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self) -> None:
        """Start all processes that do not run; :meth:`wait_for` waits."""
        with self._starting:
            for name, arguments in self._programs.items():
                child = self._children.get(name)
                if child is None or child.poll() is not None:
                    self._children[name] = self._launch(name, *arguments)

    @contextlib.contextmanager
    def supervised(self) -> Iterator[None]:
        """Start again whatever ends while the context lasts, as an operator's supervisor does.

        A process that loses its database may end only when it uses it next, long after the others.
        """
        over = threading.Event()

        def supervise() -> None:
            while not over.wait(0.5):
                self.start()

        thread = threading.Thread(target=supervise, name="supervisor", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _launch(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.logs / f"airflow-{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [_AIRFLOW, *arguments],
                env={**self.env, "PGAPPNAME": name},  # PostgreSQL knows its clients by it
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._sessions.add(child.pid)
        return child

    def wait_for(self, *dag_ids: str, timeout_s: float = 180.0, restart: bool = False) -> None:
        """Wait until the API answers, the scheduler runs and the DAGs are there.

        :param restart: start again what ends meanwhile, as an operator's supervisor does.
        :raises RuntimeError: it did not come up; with where the logs are.
        """
        deadline = time.monotonic() + timeout_s
        missing = "the API server"
        while time.monotonic() < deadline:
            dead = [name for name, child in self._children.items() if child.poll() is not None]
            if dead and not restart:
                raise RuntimeError(f"Airflow's {dead[0]} ended; see {self.logs}.")
            self.start()
            try:
                missing = self._missing(dag_ids)
            except (OSError, ValueError):
                missing = "the API server"
            if not missing:
                return
            time.sleep(0.5)
        errors = ""
        with contextlib.suppress(OSError, ValueError):
            errors = self.get("/api/v2/importErrors").get("import_errors", [])
        raise RuntimeError(f"Airflow lacks {missing} after {timeout_s:.0f} s; see {self.logs}. {errors}")

    def _missing(self, dag_ids: tuple[str, ...]) -> str:
        health = self.get("/api/v2/monitor/health", patience_s=0)
        parts = ("scheduler", "dag_processor", "triggerer")
        unwell = [p for p in parts if (health.get(p) or {}).get("status") != "healthy"]
        known = {dag["dag_id"] for dag in self.get("/api/v2/dags?limit=100")["dags"]}
        return ", ".join([*unwell, *(d for d in dag_ids if d not in known)])

    def pid(self, name: str) -> int:
        """Return the pid of one process, which leads a session of its own."""
        return self._children[name].pid

    def kill(self, name: str) -> None:
        """SIGKILL one process, as the kernel does when memory is short; its children are left alone."""
        self._children[name].kill()
        self._children[name].wait()

    def kill_session(self, name: str) -> int:
        """SIGKILL one process and all that it started, as when its machine is lost.

        :returns: how many there were.
        """
        child = self._children[name]
        killed = 0
        while found := [pid for pid in pids() if session_of(pid) == child.pid]:
            for pid in found:
                signal_if_there(pid, signal.SIGKILL)
            child.wait()
            killed += len(found)
        return killed

    def kill_tasks(self, wanted: Callable[[str], bool]) -> int:
        """SIGKILL the processes of running tasks.

        :param wanted: decides by the process's command line, ``airflow worker -- <task instance id>``.
        :returns: how many there were.
        """
        found = [p for p in self._processes() if wanted(command_line(p))]
        for pid in found:
            signal_if_there(pid, signal.SIGKILL)
        return len(found)

    def kill_all(self) -> None:
        """SIGKILL all of Airflow at once, tasks included; the jobs on the nodes are not Airflow's."""
        while found := self._processes():
            for pid in found:
                signal_if_there(pid, signal.SIGKILL)
            for child in self._children.values():
                child.wait()

    def _processes(self) -> list[int]:
        """Return Airflow's processes, and those whose parents were killed; jobs have sessions of their own."""
        return [pid for pid in pids() if session_of(pid) in self._sessions]

    def stop(self) -> None:
        """End all processes; the scheduler first, so that it starts nothing new."""
        for name in sorted(self._children, key=lambda name: name != "scheduler"):
            end(self._children[name])
        self._children.clear()

    def sweep(self) -> list[int]:
        """End what is left of the stack's processes: executor's workers of a killed scheduler, jobs.

        :returns: those that there were.
        """
        return sweep(lambda: sorted({*self._processes(), *marked(MARKER, self._marker)}))


def process_name() -> str:
    """Return which of a stack's processes this is, or belongs to: as ``core.hostname_callable`` a host's name."""
    return os.environ.get("PGAPPNAME") or socket.gethostname()


_AIRFLOW = str(Path(sys.executable).parent / "airflow")
