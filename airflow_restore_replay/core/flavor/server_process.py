"""A node's server process: start, stop and supervision, common to all flavors."""

from __future__ import annotations

import abc
import contextlib
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import (
    Circumstance,
    NodeFull,
    NodeServerCrashed,
    PreflightFailed,
    ReplicationDenied,
    RestoreReplayError,
    ServerStartFailed,
)
from airflow_restore_replay.core.flavor.confine import server_confinement
from airflow_restore_replay.core.flavor.errorlog import LogRules, read_from
from airflow_restore_replay.core.flavor.private_files import new_password, write_private
from airflow_restore_replay.core.flavor.sql import run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, ServerLayout
from airflow_restore_replay.core.system.processes import ProcessId, running, spawn, terminate

#: the agent's own account: on the socket only, created at each start, dropped before the stop
AGENT = "restore_replay_agent"

# Crash recovery of a large restored copy that was hot takes long; a dead process is noticed at once.
START_TIMEOUT_S = 1800.0
STOP_TIMEOUT_S = 1800.0
_DENIED_PATIENCE_S = 10.0
# sockaddr_un has 108 bytes.
_SOCKET_PATH_MAX = 100
_STATE_FILE = "server.json"
_DENIED = re.compile("permission denied|errcode: 13", re.IGNORECASE)


class _State(msgspec.Struct, frozen=True, kw_only=True):
    process: ProcessId
    socket: str
    log_offset: int
    stopped: bool = False


def relay_dir(layout: ServerLayout) -> Path:
    """Return the directory of relay logs: not in the data directory, so that no snapshot contains them."""
    return layout.run_dir / "relay"


class NodeProcess(abc.ABC):
    """Common part of each :class:`~airflow_restore_replay.core.flavor.base.NodeServer`; its state is in ``run_dir``."""

    #: program → package to install for it; ``""`` stands for any other program
    packages: ClassVar[dict[str, str]]
    _log_rules: ClassVar[LogRules]

    def __init__(self, layout: ServerLayout) -> None:
        self.layout = layout

    @abc.abstractmethod
    def release(self) -> str: ...

    @abc.abstractmethod
    def initialize(self) -> None: ...

    @abc.abstractmethod
    def _command(self, *, socket: Path, init_file: Path, replaying: bool) -> list[str]:
        """Return argv of the server."""

    @abc.abstractmethod
    def _account(self, password: str) -> list[str]:
        """Return statements that create the agent's account."""

    @abc.abstractmethod
    def _connect(self, endpoint: Endpoint) -> Conn: ...

    @abc.abstractmethod
    def _settle(self, conn: Conn) -> None:
        """Bring the server into the state for a snapshot: full durability, minimal redo log, no agent account."""

    @abc.abstractmethod
    def _disk_full(self, text: str) -> bool: ...

    @abc.abstractmethod
    def _plugins(self) -> Iterable[Path]:
        """Return the plugins that cannot access anything outside the data directory; the server can load no others."""

    def _begin(self, conn: Conn, *, replaying: bool) -> None:
        """Set what can be set only on a running server."""
        return

    def program(self, name: str) -> str:
        """Return the path of one of the server's programs.

        :raises PreflightFailed: it is not installed.
        """
        places = [str(self.layout.bindir)] if self.layout.bindir else []
        found = shutil.which(name, path=":".join(places)) if places else shutil.which(name)
        found = found or (None if places else shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin"))
        if not found:
            package = self.packages.get(name, self.packages[""])
            raise PreflightFailed(
                f"The program {name} is not installed{f' in {places[0]}' if places else ''}.",
                hint=f"Install the package {package} on the node, or set node.bindir.",
            )
        return found

    def start(self, *, replaying: bool, timeout_s: float = START_TIMEOUT_S) -> None:
        if self.alive():
            return
        self._prepare_directories()
        password = new_password()
        write_private(self._password_file, password)
        init_file = self.layout.run_dir / "init.sql"
        write_private(init_file, "".join(f"{s};\n" for s in self._account(password)))
        socket = self._socket_path()
        offset = self.layout.log_path.stat().st_size if self.layout.log_path.exists() else 0
        argv = self._command(socket=socket, init_file=init_file, replaying=replaying)
        confinement = server_confinement(self.layout, socket_directory=socket.parent)
        started = spawn(argv, self.layout.log_path, confinement)
        self._save(_State(process=started, socket=str(socket), log_offset=offset))
        try:
            self._wait_ready(timeout_s)
            with self.connect() as conn:
                self._begin(conn, replaying=replaying)
        except BaseException:
            self.kill()
            raise
        finally:
            init_file.unlink(missing_ok=True)

    def connect(self) -> Conn:
        return self._connect(self.endpoint())

    def endpoint(self) -> Endpoint:
        """Return the endpoint that the agent connects to.

        :raises NodeServerCrashed: the server was not started.
        """
        state = self._load()
        if state is None:
            raise NodeServerCrashed("The node's server was not started.")
        password = self._password_file.read_text(encoding="utf-8")
        return Endpoint(socket=state.socket, user=AGENT, password=password)

    def create_account_again(self, conn: Conn) -> None:
        """Create the agent's account after a load replaced the account tables, in a session from before the load."""
        password = self._password_file.read_text(encoding="utf-8")
        for statement in ("FLUSH PRIVILEGES", *self._account(password)):
            run(conn, statement)

    def alive(self) -> bool:
        state = self._load()
        return state is not None and running(state.process)

    def await_exit(self, timeout_s: float) -> bool:
        """Return whether the server ends by itself within *timeout_s*."""
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def log_errors(self) -> list[str]:
        return self._log_rules.data_errors(self._log())

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        state = self._load()
        if state is None or state.stopped:
            return
        if not running(state.process):
            raise NodeServerCrashed(
                f"The node's server died by itself: {self._log_rules.telling(self._errors())}."
            )
        with self.connect() as conn:
            self._settle(conn)
        gone = terminate(state.process, sig=signal.SIGTERM, timeout_s=timeout_s)
        if not gone or "Shutdown complete" not in self._log():
            self.kill()
            problem = "did not stop within" if not gone else "did not report a clean shutdown after"
            raise NodeServerCrashed(f"The node's server {problem} {timeout_s:.0f} s of SIGTERM.")
        self._save(msgspec.structs.replace(state, stopped=True))
        _remove_traces(self.layout.run_dir, state)

    def kill(self) -> None:
        kill_recorded(self.layout.run_dir)

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
        errors = self._log_rules.all_errors(text)
        line = self._log_rules.telling(errors)
        evidence = {"log": (errors or text.splitlines())[-20:]}
        if self._disk_full(text):
            return NodeFull(f"The node's server {what}: {line}.", evidence=evidence)
        # A server that was killed or that hangs logs no error, so there is no evidence against the data.
        outside = self._log_rules.environment_errors(text)
        if outside:
            line = self._log_rules.telling(outside)
        kind = ServerStartFailed if self._log_rules.data_errors(text) and not outside else NodeServerCrashed
        if self.layout.confine != "off" and _DENIED.search(text):
            hint = "If a file outside the node's directory was denied, name it in node.readable."
            return kind(f"The node's server {what}: {line}.", hint=hint, evidence=evidence)
        return kind(f"The node's server {what}: {line}.", evidence=evidence)

    def _prepare_directories(self) -> None:
        layout = self.layout
        inner = (layout.datadir, layout.run_dir, layout.tmp_dir, layout.plugin_dir)
        for directory in (*inner, relay_dir(layout), layout.run_dir / "closed"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        layout.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._link_plugins()

    def _socket_path(self) -> Path:
        socket = self.layout.run_dir / "s"
        if len(str(socket).encode()) <= _SOCKET_PATH_MAX:
            return socket
        return Path(tempfile.mkdtemp(prefix="restore-replay-", dir="/tmp")) / "s"

    @property
    def _password_file(self) -> Path:
        return _password_file(self.layout.run_dir)

    def _log(self) -> str:
        state = self._load()
        return read_from(self.layout.log_path, state.log_offset if state else 0)

    def _errors(self) -> list[str]:
        return self._log_rules.all_errors(self._log())

    def _save(self, state: _State) -> None:
        path = self.layout.run_dir / _STATE_FILE
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(encode(state))
        temporary.replace(path)

    def _load(self) -> _State | None:
        return _load(self.layout.run_dir)

    def _library_roots(self) -> Sequence[Path]:
        bindir = self.layout.bindir
        if bindir:
            return [bindir.parent / "lib"]
        return [Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib")]

    def _link_plugins(self) -> None:
        for plugin in self._plugins():
            with contextlib.suppress(FileExistsError):
                (self.layout.plugin_dir / plugin.name).symlink_to(plugin)


def recorded(run_dir: Path) -> ProcessId | None:
    """Return the process of the server that *run_dir* records, which may be gone; None if none was started."""
    state = _load(run_dir)
    return state.process if state else None


def kill_recorded(run_dir: Path) -> None:
    """Kill the server that *run_dir* records, of any flavor and any release of this package; idempotent."""
    state = _load(run_dir)
    if state is None:
        return
    terminate(state.process, sig=signal.SIGKILL, timeout_s=60)
    _remove_traces(run_dir, state)


def _load(run_dir: Path) -> _State | None:
    try:
        return decode((run_dir / _STATE_FILE).read_bytes(), _State)
    except FileNotFoundError:
        return None


def _remove_traces(run_dir: Path, state: _State) -> None:
    _password_file(run_dir).unlink(missing_ok=True)
    socket = Path(state.socket)
    socket.unlink(missing_ok=True)
    if socket.parent != run_dir:
        shutil.rmtree(socket.parent, ignore_errors=True)


def _password_file(run_dir: Path) -> Path:
    return run_dir / "agent-password"


def last_line(text: str) -> str:
    """Return the last line of a program's output that reports an error, else its last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no output")
