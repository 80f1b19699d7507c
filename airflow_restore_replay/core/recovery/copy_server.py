"""The server of a restored copy: the command that starts it, and one that runs already, confined as a node's is."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import NodeServerCrashed, PreflightFailed, TargetNotEmpty
from airflow_restore_replay.core.flavor.account import DROP
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.optionfile import client_options
from airflow_restore_replay.core.flavor.private_files import write_private
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.server_options import CopyPlaces
from airflow_restore_replay.core.flavor.server_record import DIRECTORY, kill_recorded
from airflow_restore_replay.core.flavor.sql import run
from airflow_restore_replay.core.flavor.values import NODE_SERVER_IDS, Conn, Endpoint, ServerLayout, Serving
from airflow_restore_replay.core.flavor.variables import zone_of_system
from airflow_restore_replay.core.recovery.restore import OPTION_FILE
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.system.files import is_own_directory, make_directory
from airflow_restore_replay.core.system.processes import started_for, terminate

#: what the server has beside its data is in a directory of this name, beside the data directory
SUFFIX = ".server"
_CLIENT_FILE = "client.cnf"
# sockaddr_un has 108 bytes.
_SOCKET_PATH_MAX = 100
_END_S = 60.0


@dataclass(frozen=True)
class CopyRequest:
    """How a restored copy is to run.

    :param primary: it takes the place of the primary.
    :param source: it becomes a replica of this server.
    """

    port: int | None = None
    bind: str = "127.0.0.1"
    writable: bool = False
    primary: bool = False
    source: Endpoint | None = None

    def serving(self, option_file: str) -> Serving:
        """Return how the server serves.

        :param option_file: the primary's settings; empty if there are none.
        """
        logs = self.primary or self.source is not None
        return Serving(
            port=self.port,
            bind=self.bind,
            writable=self.writable or self.primary,
            logs=logs,
            # No primary may have the id of a node.
            server_id=1 + secrets.randbelow(NODE_SERVER_IDS.start - 1) if logs else 1,
            option_file=Path(option_file) if option_file else None,
        )


@dataclass(frozen=True)
class Commands:
    """Words for a shell.

    :param start: starts the server in the foreground.
    :param connect, stop: of the server that *start* started.
    """

    start: str
    connect: str
    stop: str


@dataclass(frozen=True)
class RunningCopy:
    """A server that runs on a restored copy, and outlives its caller.

    :param warnings: what its error log says about the data, and what a person should know.
    """

    pid: int
    socket: str
    port: int | None
    log: str
    commands: Commands
    warnings: list[str] = field(default_factory=list)


class CopyServer:
    """The server of a restored copy.

    :param target: the data directory.
    :param option_file: the primary's settings; empty if the backup has none.
    """

    def __init__(
        self,
        cluster: Cluster,
        manifest: Manifest,
        target: Path,
        request: CopyRequest,
        *,
        option_file: str = "",
    ) -> None:
        self.flavor: Flavor = get_flavor(manifest.flavor)
        self.target = target
        self.home = target.with_name(target.name + SUFFIX)
        self._request = request
        self._serving = request.serving(option_file)
        tls = (
            (request.source.ssl_ca, request.source.ssl_cert, request.source.ssl_key) if request.source else ()
        )
        self.layout = ServerLayout(
            datadir=target,
            run_dir=self.home / "run",
            tmp_dir=self.home / "tmp",
            log_path=self.home / "log" / "server.err",
            plugin_dir=self.home / "plugin",
            bindir=Path(cluster.node.bindir) if cluster.node.bindir else None,
            buffer_pool_bytes=cluster.node.buffer_pool,
            confine=cluster.node.confine,
            readable=tuple(
                map(Path, [*cluster.node.readable, *filter(None, tls), *filter(None, [option_file])])
            ),
            primary_port=request.source.port if request.source else 0,
            variables=manifest.variables,
            serving=self._serving,
        )
        self.server: NodeServer = self.flavor.server(self.layout)

    def refuse_home(self) -> None:
        """Raise unless the directory for the server's other files can be made, or is one that an earlier start made.

        :raises TargetNotEmpty: it is something else, or a server runs there.
        """
        if self.home.exists() and not _is_home(self.home):
            raise TargetNotEmpty(
                f"{self.home} exists, and is not the directory of a restored copy's server.",
                hint="Restore into a directory of another name.",
            )
        if self.server.alive():
            raise TargetNotEmpty(
                f"The server of an earlier restore runs on {self.target}.",
                hint="Stop it first, or restore elsewhere.",
            )
        parent = next(p for p in self.home.parents if p.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            raise TargetNotEmpty(
                f"{self.home} cannot be made, and the server needs it for its socket and its log.",
                hint=f"Restore into a directory below {self.target}, or make {self.home} for this account.",
            )

    def commands(self) -> Commands:
        """Return the commands for a person who starts the server; all its files are in the data directory then."""
        target = self.target
        socket = target / "restored.sock"
        if len(str(socket).encode()) > _SOCKET_PATH_MAX:
            socket = Path("/tmp") / f"restored-{secrets.token_hex(6)}.sock"
        # The server deletes files of other servers from a temporary directory that they share.
        places = CopyPlaces(socket, target / "restored.pid", target / "restored.err", target)
        try:
            argv = self.server.command_for(self._serving, places)
        except PreflightFailed:
            argv = []
        start = f"{self._environment()}{shlex.join(argv)}" if argv else ""
        return Commands(
            start, self._connect(socket), f"kill -TERM $(cat {shlex.quote(str(places.pid_file))})"
        )

    def start(self) -> Conn:
        """Start the server, and return a connection as the agent's account, which :meth:`leave` ends.

        :raises ServerStartFailed, NodeServerCrashed, NodeFull: it does not start.
        """
        make_directory(self.home / DIRECTORY)
        self.server.start(replaying=False)
        return self.server.connect()

    def leave(self, conn: Conn, *, keep_account: bool) -> RunningCopy:
        """Let the server run on.

        :param keep_account: leave the agent's account for the person who started the copy, in an option file.
        """
        record = self.server.recorded()
        if record is None:
            raise NodeServerCrashed(f"The server of {self.target} is gone.")
        client = self.home / _CLIENT_FILE
        if keep_account:
            write_private(client, client_options(self.server.endpoint()))
        else:
            client.unlink(missing_ok=True)
            run(conn, "SET SESSION sql_log_bin = 0")
            run(conn, DROP)
        conn.close()
        # The file that made the agent's account is gone.
        argv = [word for word in record.argv if not word.startswith("--init-file=")]
        start = f"{self._environment()}{shlex.join(argv)}"
        connect = self._connect(Path(record.socket), client if keep_account else None)
        return RunningCopy(
            pid=record.process.pid,
            socket=record.socket,
            port=self._serving.port,
            log=str(self.layout.log_path),
            commands=Commands(start, connect, f"kill -TERM {record.process.pid}"),
            warnings=[f"Its error log: {line}" for line in self.server.log_errors()],
        )

    def close(self, conn: Conn) -> None:
        """Stop the server cleanly, and remove what it had beside its data."""
        conn.close()
        self.server.stop()
        shutil.rmtree(self.home)

    def end(self) -> None:
        """Kill the server of a copy that is not needed any more, recorded or not; idempotent."""
        end_server(self.home)

    def _environment(self) -> str:
        zone = zone_of_system(self.layout.variables)
        return f"TZ={shlex.quote(zone)} " if zone else ""

    def _connect(self, socket: Path, client: Path | None = None) -> str:
        name = self.server.client_program
        with contextlib.suppress(PreflightFailed):
            name = self.server.program(name)
        how = [f"--defaults-file={client}"] if client else [f"--socket={socket}", "--user=root", "--password"]
        return shlex.join([name, *how])


def option_file_in(target: Path) -> str:
    """Return the path of the option file that a restore wrote; empty if it wrote none."""
    path = target / OPTION_FILE
    return str(path) if path.is_file() else ""


def end_server(home: Path) -> None:
    """Kill the server whose other files are in *home*.

    A caller that was killed may have started it without a record; then its environment names *home*.
    """
    with contextlib.suppress(OSError):
        kill_recorded(home / "run")
    for process in started_for(home):
        terminate(process, sig=signal.SIGKILL, timeout_s=_END_S)


def _is_home(path: Path) -> bool:
    return is_own_directory(path) and ((path / DIRECTORY).is_dir() or not any(path.iterdir()))
