"""A node's server process: start, stop and supervision, common to all flavors."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import re
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from airflow_restore_replay.core.errors import (
    Circumstance,
    NodeFull,
    NodeServerCrashed,
    ReplicationDenied,
    RestoreReplayError,
    ServerStartFailed,
)
from airflow_restore_replay.core.flavor import account, server_record
from airflow_restore_replay.core.flavor.classify import disk_full
from airflow_restore_replay.core.flavor.confine import server_confinement
from airflow_restore_replay.core.flavor.errorlog import LogRules, read_from
from airflow_restore_replay.core.flavor.private_files import new_password, write_private
from airflow_restore_replay.core.flavor.programs import find_program
from airflow_restore_replay.core.flavor.server_options import CopyPlaces, copy_options, relay_dir
from airflow_restore_replay.core.flavor.server_record import ServerRecord
from airflow_restore_replay.core.flavor.sql import run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, ServerLayout, Serving
from airflow_restore_replay.core.flavor.variables import PLUGINS, Variables, follow_zone, zone_of_system
from airflow_restore_replay.core.system.processes import NODE, running, spawn, terminate

# Crash recovery of a large restored copy that was hot takes long; a dead process is noticed at once.
START_TIMEOUT_S = 1800.0
STOP_TIMEOUT_S = 1800.0
_DENIED_PATIENCE_S = 10.0
_DENIED = re.compile("permission denied|errcode: 13", re.IGNORECASE)


class NodeProcess(abc.ABC):
    """Common part of each :class:`~airflow_restore_replay.core.flavor.base.NodeServer`; its state is its record."""

    #: program → package to install for it; ``""`` stands for any other program
    packages: ClassVar[dict[str, str]]
    server_program: ClassVar[str]
    client_program: ClassVar[str]
    _copy_options: ClassVar[Sequence[str]]
    _log_rules: ClassVar[LogRules]
    variables: ClassVar[Variables]

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
    def _identified(self, password: str) -> str:
        """Return the clause of CREATE USER that gives the agent's account its password."""

    @abc.abstractmethod
    def _connect(self, endpoint: Endpoint) -> Conn: ...

    @abc.abstractmethod
    def _settle(self, conn: Conn) -> None:
        """Bring the server into the state for a snapshot: full durability, minimal redo log, no agent account."""

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
        return find_program(name, self.layout.bindir, package=self.packages.get(name, self.packages[""]))

    def start(self, *, replaying: bool, timeout_s: float = START_TIMEOUT_S) -> None:
        if self.alive():
            return
        self._prepare_directories()
        password = new_password()
        write_private(self._password_file, password)
        init_file = self.layout.run_dir / "init.sql"
        write_private(init_file, "".join(f"{s};\n" for s in (*self._unlogged(), *self._account(password))))
        socket = server_record.socket_path(self.layout.run_dir)
        offset = self.layout.log_path.stat().st_size if self.layout.log_path.exists() else 0
        argv = self._copy_command(socket, init_file) or self._command(
            socket=socket, init_file=init_file, replaying=replaying
        )
        confinement = server_confinement(self.layout, socket_directory=socket.parent, program=Path(argv[0]))
        zone = zone_of_system(self.layout.variables)
        with server_record.starting(self.layout.run_dir):
            started = spawn(argv, self.layout.log_path, confinement, environment=self._environment(zone))
            self._save(ServerRecord(process=started, socket=str(socket), log_offset=offset, argv=tuple(argv)))
        try:
            self._wait_ready(timeout_s)
            with self.connect() as conn:
                self._begin(conn, replaying=replaying)
                follow_zone(conn, self.layout.variables)
        except BaseException:
            self.kill()
            raise
        finally:
            init_file.unlink(missing_ok=True)

    def command_for(self, serving: Serving, places: CopyPlaces) -> list[str]:
        """Return the command that starts the server on a restored copy, as a person would run it.

        :raises PreflightFailed: the server is not installed.
        """
        layout = self.layout
        common = copy_options(layout.datadir, serving, places, buffer_pool_bytes=layout.buffer_pool_bytes)
        return [self.program(self.server_program), *common, *self._copy_options]

    def _copy_command(self, socket: Path, init_file: Path) -> list[str]:
        """Return the command of a server that people use; empty if this is a node's."""
        layout = self.layout
        if layout.serving is None:
            return []
        pid_file = layout.run_dir / f"{self.server_program}.pid"
        places = CopyPlaces(socket, pid_file, layout.log_path, layout.tmp_dir, layout.plugin_dir)
        return [*self.command_for(layout.serving, places), f"--init-file={init_file}"]

    def _environment(self, zone: str) -> dict[str, str]:
        # A node's server has the name of its node from the job that starts it.
        mark = {NODE: str(self.layout.run_dir.parent)} if self.layout.serving else {}
        return {**mark, **({"TZ": zone} if zone else {})}

    def _unlogged(self) -> list[str]:
        # The account is this server's own, and none of its replicas'.
        return ["SET SESSION sql_log_bin = 0"] if self.layout.serving and self.layout.serving.logs else []

    def recorded(self) -> ServerRecord | None:
        """Return what is known of the server that was started last."""
        return self._load()

    def follow(self, variables: Mapping[str, str]) -> None:
        """Give the server the primary's settings from its next start."""
        self.layout = dataclasses.replace(self.layout, variables=dict(variables))

    def lacking(self, variables: Mapping[str, str]) -> list[str]:
        """Return the plugins that the primary has loaded and that are not installed here."""
        wanted = filter(None, variables.get(PLUGINS, "").split(","))
        installed = {path.stem for path in self._plugins()}
        return sorted({*wanted} - installed)

    def _followed(self) -> list[str]:
        """Return the options that give the server the primary's settings, which must come last."""
        return self.variables.options(self.layout.variables, {path.stem for path in self._plugins()})

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
        return Endpoint(socket=state.socket, user=account.AGENT, password=password)

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
        server_record.remove_traces(self.layout.run_dir, state)

    def kill(self) -> None:
        server_record.kill_recorded(self.layout.run_dir)

    def _account(self, password: str) -> list[str]:
        return account.create_statements(self._identified(password))

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
        if disk_full(text):
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

    @property
    def _password_file(self) -> Path:
        return server_record.password_file(self.layout.run_dir)

    def _log(self) -> str:
        state = self._load()
        return read_from(self.layout.log_path, state.log_offset if state else 0)

    def _errors(self) -> list[str]:
        return self._log_rules.all_errors(self._log())

    def _save(self, record: ServerRecord) -> None:
        server_record.save(self.layout.run_dir, record)

    def _load(self) -> ServerRecord | None:
        return server_record.load(self.layout.run_dir)

    def _link_plugins(self) -> None:
        for plugin in self._plugins():
            with contextlib.suppress(FileExistsError):
                (self.layout.plugin_dir / plugin.name).symlink_to(plugin)
