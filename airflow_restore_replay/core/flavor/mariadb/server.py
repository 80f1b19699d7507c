"""The node's ``mariadbd``: its start, its stop, and how it is watched in between."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec
import pymysql

from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.errors import (
    Circumstance,
    NodeFull,
    NodeServerCrashed,
    PreflightFailed,
    ReplicationDenied,
    RestoreReplayError,
    SeedFailed,
    ServerStartFailed,
)
from airflow_restore_replay.core.flavor.base import Conn, Endpoint, ServerLayout
from airflow_restore_replay.core.flavor.mariadb import account, classify, errorlog, options
from airflow_restore_replay.core.flavor.mariadb.connect import connect, run, value
from airflow_restore_replay.core.processes import ProcessId, running, spawn, terminate

# Crash recovery of a large, hot restored copy takes long; a dead process is noticed at once.
START_TIMEOUT_S = 1800.0
STOP_TIMEOUT_S = 1800.0
_DENIED_PATIENCE_S = 10.0
# sockaddr_un has 108 bytes.
_SOCKET_PATH_MAX = 100


class _State(msgspec.Struct, frozen=True, kw_only=True):
    process: ProcessId
    socket: str
    log_offset: int
    stopped: bool = False


class MariaDbServer:
    """See :class:`~airflow_restore_replay.core.flavor.base.NodeServer`; the state is in ``run_dir``."""

    def __init__(self, layout: ServerLayout) -> None:
        self.layout = layout

    def release(self) -> str:
        out = subprocess.run(
            [self.program("mariadbd"), "--version"], capture_output=True, text=True, check=False
        )
        match = re.search(r"Ver (\d+\.\d+\.\d+)", out.stdout)
        if not match:
            raise PreflightFailed(
                f"mariadbd --version answered {out.stdout.strip()!r} {out.stderr.strip()!r}."
            )
        return match[1]

    def program(self, name: str) -> str:
        """:returns: path of a MariaDB program.

        :raises PreflightFailed: it is not installed.
        """
        places = [str(self.layout.bindir)] if self.layout.bindir else []
        found = shutil.which(name, path=":".join(places)) if places else shutil.which(name)
        found = found or (None if places else shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin"))
        if not found:
            package = {"mariadb-backup": "mariadb-backup", "mbstream": "mariadb-backup"}.get(
                name, "mariadb-server"
            )
            raise PreflightFailed(
                f"The program {name} is not installed{f' in {places[0]}' if places else ''}.",
                hint=f"Install the package {package} on the node, or set node.bindir.",
            )
        return found

    def initialize(self) -> None:
        self._prepare_directories()
        command = [
            self.program("mariadb-install-db"),
            "--no-defaults",
            *options.run_as(),
            f"--datadir={self.layout.datadir}",
            f"--tmpdir={self.layout.tmp_dir}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            text = done.stdout + done.stderr
            kind = NodeFull if classify.disk_full(text) else SeedFailed
            raise kind(f"mariadb-install-db failed with status {done.returncode}: {_last_line(text)}")

    def start(self, *, replaying: bool, timeout_s: float = START_TIMEOUT_S) -> None:
        if self.alive():
            return
        self._prepare_directories()
        password = account.new_password()
        account.write_private(self._password_file, password)
        init_file = self.layout.run_dir / "init.sql"
        account.write_private(init_file, "".join(f"{s};\n" for s in account.create_statements(password)))
        socket = self._socket_path()
        offset = self.layout.log_path.stat().st_size if self.layout.log_path.exists() else 0
        argv = [
            self.program("mariadbd"),
            *options.server_options(self.layout, socket=socket, init_file=init_file, replaying=replaying),
        ]
        started = spawn(argv, self.layout.log_path)
        self._save(_State(process=started, socket=str(socket), log_offset=offset))
        try:
            self._wait_ready(timeout_s)
        except BaseException:
            self.kill()
            raise
        finally:
            init_file.unlink(missing_ok=True)

    def connect(self) -> Conn:
        return connect(self.endpoint())

    def endpoint(self) -> Endpoint:
        """:returns: the agent's way in."""
        state = self._load()
        if state is None:
            raise NodeServerCrashed("The node's server was not started.")
        password = self._password_file.read_text(encoding="utf-8")
        return Endpoint(socket=state.socket, user=account.NAME, password=password)

    def account_sql(self) -> str:
        """:returns: SQL that makes the agent's account anew after a load replaced the account tables."""
        password = self._password_file.read_text(encoding="utf-8")
        return "".join(f"{s};\n" for s in ["FLUSH PRIVILEGES", *account.create_statements(password)])

    def alive(self) -> bool:
        state = self._load()
        return state is not None and running(state.process)

    def log_errors(self) -> list[str]:
        return errorlog.data_errors(self._log())

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        state = self._load()
        if state is None or state.stopped:
            return
        if not running(state.process):
            raise NodeServerCrashed(f"The node's server died by itself: {errorlog.telling(self._errors())}.")
        self._settle()
        gone = terminate(state.process, sig=signal.SIGTERM, timeout_s=timeout_s)
        if not gone or "Shutdown complete" not in self._log():
            self.kill()
            problem = "did not stop within" if not gone else "did not report a clean shutdown after"
            raise NodeServerCrashed(f"The node's server {problem} {timeout_s:.0f} s of SIGTERM.")
        self._save(msgspec.structs.replace(state, stopped=True))
        self._remove_traces(state)

    def kill(self) -> None:
        state = self._load()
        if state is None:
            return
        terminate(state.process, sig=signal.SIGKILL, timeout_s=60)
        self._remove_traces(state)

    def _settle(self) -> None:
        """Full durability, a redo log of minimal size, no agent account: what the snapshot shall hold."""
        with self.connect() as conn:
            run(conn, "SET GLOBAL innodb_flush_log_at_trx_commit=1")
            with contextlib.suppress(pymysql.err.MySQLError):  # not dynamic before 10.9
                run(conn, f"SET GLOBAL innodb_log_file_size={options.REDO_AT_REST_BYTES}")
            run(conn, account.DROP)

    def _wait_ready(self, timeout_s: float) -> None:
        begun = time.monotonic()
        while True:
            waited = time.monotonic() - begun
            if not self.alive():
                raise self._start_failure("exited while starting")
            try:
                with self.connect() as conn:
                    value(conn, "SELECT 1")
                return
            except ReplicationDenied as exc:
                if waited > _DENIED_PATIENCE_S:
                    raise self._start_failure(
                        "did not run its init file, so the agent cannot log in"
                    ) from exc
            except Circumstance:
                pass
            if waited > timeout_s:
                raise self._start_failure(f"did not accept connections within {timeout_s:.0f} s")
            time.sleep(0.05)

    def _start_failure(self, what: str) -> RestoreReplayError:
        text = self._log()
        errors = errorlog.all_errors(text)
        line = errorlog.telling(errors)
        evidence = {"log": (errors or text.splitlines())[-20:]}
        if classify.disk_full(text):
            return NodeFull(f"The node's server {what}: {line}.", evidence=evidence)
        # A server that was killed, or waits for something, says nothing: no evidence against the data.
        outside = errorlog.environment_errors(text)
        if outside:
            line = errorlog.telling(outside)
        kind = ServerStartFailed if errorlog.data_errors(text) and not outside else NodeServerCrashed
        return kind(f"The node's server {what}: {line}.", evidence=evidence)

    def _prepare_directories(self) -> None:
        layout = self.layout
        inner = (layout.datadir, layout.run_dir, layout.tmp_dir, layout.plugin_dir)
        for directory in (*inner, options.relay_dir(layout), layout.run_dir / "closed"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        layout.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._link_plugins()

    def _link_plugins(self) -> None:
        """Offer only the plugins that cannot reach outside the data directory."""
        bindir = self.layout.bindir
        roots = (
            [bindir.parent / "lib"]
            if bindir
            else [Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib")]
        )
        for root in roots:
            for found in (p for name in ("mysql", "mariadb") for p in [root / name / "plugin"] if p.is_dir()):
                for plugin in (path for pattern in options.SAFE_PLUGINS for path in found.glob(pattern)):
                    with contextlib.suppress(FileExistsError):
                        (self.layout.plugin_dir / plugin.name).symlink_to(plugin)

    def _socket_path(self) -> Path:
        socket = self.layout.run_dir / "s"
        if len(str(socket).encode()) <= _SOCKET_PATH_MAX:
            return socket
        return Path(tempfile.mkdtemp(prefix="restore-replay-", dir="/tmp")) / "s"

    def _remove_traces(self, state: _State) -> None:
        self._password_file.unlink(missing_ok=True)
        socket = Path(state.socket)
        socket.unlink(missing_ok=True)
        if socket.parent != self.layout.run_dir:
            shutil.rmtree(socket.parent, ignore_errors=True)

    @property
    def _password_file(self) -> Path:
        return self.layout.run_dir / "agent-password"

    def _log(self) -> str:
        state = self._load()
        return errorlog.read_from(self.layout.log_path, state.log_offset if state else 0)

    def _errors(self) -> list[str]:
        return errorlog.all_errors(self._log())

    def _save(self, state: _State) -> None:
        path = self.layout.run_dir / "server.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(state))
        temporary.replace(path)

    def _load(self) -> _State | None:
        try:
            return decode((self.layout.run_dir / "server.json").read_bytes(), _State)
        except FileNotFoundError:
            return None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no output")
