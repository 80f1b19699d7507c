"""The one place that starts primaries, for tests, the demo and benchmarks; each flavor's is in its module."""

from __future__ import annotations

import abc
import inspect
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import pymysql
from pymysql.connections import Connection

from airflow_restore_replay.core.flavor.values import Endpoint
from tests.support import templates

ROOT_PASSWORD = "root-secret-5c1f"
BACKUP_PASSWORD = "protect-secret-93ab"


def free_port() -> int:
    """Return a TCP port that nothing listens on, below the ports that outgoing connections use."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Primary(abc.ABC):
    """A throw-away server with a binary log, reachable over TCP and a socket; may follow another until promoted.

    :param root: directory for everything it writes; the socket lives in a short temporary directory.
    """

    def __init__(self, root: Path, *, server_id: int, port: int, options: Sequence[str]) -> None:
        self.root = root
        self.server_id = server_id
        self.port = port
        self.options = list(options)
        self.install: list[str] = []
        self.environment: dict[str, str] = {}
        self.defaults: Path | None = None
        self.datadir = root / "data"
        # Of its own: a server that starts deletes every temporary table in its tmpdir, other servers' too.
        self.tmp_dir = root / "tmp"
        self.log_path = root / "error.log"
        self._socket_dir = Path(tempfile.mkdtemp(prefix="rr-primary-"))
        self.socket = str(self._socket_dir / "s")
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        root: Path,
        *,
        server_id: int = 1,
        port: int | None = None,
        options: Sequence[str] = (),
        install: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        defaults: Path | None = None,
    ) -> Self:
        """Start on the data directory below *root*, with further *options*; where there is none, on a fresh one.

        :param install: options that the data directory is made with, and that the server has, too.
        :param environment: of the server's process, beside this process's own.
        :param defaults: option file; None for none.
        """
        primary = cls(root, server_id=server_id, port=port or free_port(), options=options)
        primary.install, primary.environment = list(install), dict(environment or {})
        primary.defaults = defaults
        primary.tmp_dir.mkdir(parents=True, exist_ok=True)
        if not (primary.datadir / "mysql").exists():
            templates.copy_tree(primary._installed(), primary.datadir)
        primary._launch()
        return primary

    def _installed(self) -> Path:
        """Return a fresh data directory of this release, in which root has a password; installed once."""

        def install(work: Path) -> None:
            new = type(self)(work, server_id=1, port=free_port(), options=["--skip-log-bin"])
            new.install = self.install
            new.tmp_dir.mkdir()
            try:
                new._install()
                new._launch()
                new._secure()
            finally:
                new.stop()
            shutil.rmtree(new.tmp_dir)
            # Each copy is a server of its own.
            (new.datadir / "auto.cnf").unlink(missing_ok=True)

        recipe = inspect.getsource(sys.modules[type(self).__module__])
        release = templates.release_of(self.program(self.server_program))
        made_with = recipe + release + " ".join(self.install)
        return templates.kept(f"primary-{self.flavor}", made_with, install) / "data"

    #: of the cluster file
    flavor: ClassVar[str]
    server_program: ClassVar[str]
    #: variable that ends statements after a time
    statement_time: ClassVar[str]
    #: scripts beside this module that create one of every object of that release
    zoo: ClassVar[tuple[str, ...]]

    @property
    def bindir(self) -> str | None:
        """Return directory of its programs when they are not on PATH; for node.bindir."""
        return None

    def program(self, name: str) -> str:
        """Return how to call one of its programs."""
        return f"{self.bindir}/{name}" if self.bindir else name

    @abc.abstractmethod
    def _install(self) -> None: ...

    @abc.abstractmethod
    def _command(self) -> list[str]: ...

    @abc.abstractmethod
    def _secure(self) -> None: ...

    @abc.abstractmethod
    def _grants(self, name: str, host: str) -> list[str]: ...

    @abc.abstractmethod
    def follow(self, source: Primary) -> None: ...

    @abc.abstractmethod
    def promote(self) -> None: ...

    def endpoint(self, user: str = "root") -> Endpoint:
        """Return how to reach it over TCP; *user* is ``root`` or has the backup account's password."""
        password = ROOT_PASSWORD if user == "root" else BACKUP_PASSWORD
        return Endpoint(host="127.0.0.1", port=self.port, user=user, password=password)

    def connect(self, **options: Any) -> Connection[Any]:
        """Return an autocommit connection as root, which the server's limits of time do not interrupt."""
        usual: dict[str, Any] = {
            "charset": "utf8mb4",
            "autocommit": True,
            "password": ROOT_PASSWORD,
            "init_command": f"SET SESSION {self.statement_time} = 0",
        }
        return pymysql.connect(**({"unix_socket": self.socket, "user": "root"} | usual | options))

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Return rows of the last of *statements*, which root runs."""
        with self.connect() as conn, conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def create_backup_account(
        self, name: str = "restore_replay", password: str = BACKUP_PASSWORD, host: str = "%"
    ) -> Endpoint:
        """Return the endpoint of a new protection account with exactly the documented grants."""
        who, where, word = (pymysql.converters.escape_string(text) for text in (name, host, password))
        self.execute(f"CREATE USER '{who}'@'{where}' IDENTIFIED BY '{word}'", *self._grants(name, host))
        return Endpoint(host="127.0.0.1", port=self.port, user=name, password=password)

    def purge_logs(self) -> None:
        """Keep only the newest binary log. One stays while a dump thread has it open, and a gone
        node's thread lingers; or until its last transactions are checkpointed."""
        deadline = time.monotonic() + 60
        while len(logs := self.execute("SHOW BINARY LOGS")) > 1:
            assert time.monotonic() < deadline, f"logs that cannot be purged: {logs}"
            query = "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"
            for (thread,) in self.execute(query):
                with suppress(pymysql.Error):  # gone meanwhile
                    self.execute(f"KILL {thread}")
            self.execute(f"PURGE BINARY LOGS TO '{logs[-1][0]}'")
            time.sleep(0.1)

    def restart(self, *, options: Sequence[str] = ()) -> None:
        """Stop cleanly and start again on the same port, with *options* added for good."""
        self._terminate(signal.SIGTERM)
        self.options.extend(options)
        self._launch()

    def stop(self) -> None:
        """Stop cleanly and remove the socket's directory; idempotent. The data directory stays."""
        self._terminate(signal.SIGTERM)
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def terminate(self) -> None:
        """Stop it cleanly; :meth:`restart` brings it back."""
        self._terminate(signal.SIGTERM)

    def kill(self) -> None:
        """Crash it; :meth:`restart` brings it back."""
        self._terminate(signal.SIGKILL)

    def discard(self) -> None:
        """End it when its data is not needed any more: a clean stop takes longer."""
        self.kill()
        self.stop()

    def _launch(self) -> None:
        self._socket_dir.mkdir(exist_ok=True)
        command = [*self._command(), *self.install]
        if self.defaults:
            command[1] = f"--defaults-file={self.defaults}"
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **self.environment},
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            for password in (ROOT_PASSWORD, ""):
                try:
                    self.connect(password=password).close()
                    return
                except pymysql.err.OperationalError:
                    time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the primary did not start:\n{self.log_path.read_text()[-3000:]}")

    def _terminate(self, sig: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(60)
        self.process = None


class WriteLoad:
    """Threads that insert, update and delete in ``load.t`` until stopped; they survive reconnects.

    :param threads: writers.
    :param pause_s: rest between transactions of one writer.
    """

    def __init__(self, primary: Primary, *, threads: int = 2, pause_s: float = 0.005) -> None:
        self.primary = primary
        self.committed = 0
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def start(self) -> WriteLoad:
        """Create the table and begin."""
        self.primary.execute(
            "CREATE DATABASE IF NOT EXISTS `load`",
            "CREATE TABLE IF NOT EXISTS `load`.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL,"
            " c VARCHAR(120) NOT NULL, KEY (k)) ENGINE=InnoDB",
        )
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> int:
        """Return how many transactions were committed."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        return self.committed

    def wait_for(self, more: int) -> None:
        """Wait until *more* transactions were committed from now on."""
        goal = self.committed + more
        while self.committed < goal:
            time.sleep(0.01)

    def __enter__(self) -> WriteLoad:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self._stop.is_set():
            try:
                with self.primary.connect(autocommit=False) as conn:
                    self._write_until_stopped(conn, dice)
            except pymysql.err.Error:
                time.sleep(0.1)

    def _write_until_stopped(self, conn: Connection[Any], dice: random.Random) -> None:
        with conn.cursor() as cursor:
            while not self._stop.is_set():
                cursor.execute(
                    "INSERT INTO `load`.t (k, c) VALUES (%s, %s)", (dice.randrange(1000), "x" * 80)
                )
                if dice.random() < 0.3:
                    cursor.execute(
                        "UPDATE `load`.t SET c = REVERSE(c), k = k + 1 WHERE id = %s",
                        (dice.randrange(1, 500),),
                    )
                if dice.random() < 0.1:
                    cursor.execute("DELETE FROM `load`.t WHERE id = %s", (dice.randrange(1, 500),))
                conn.commit()
                with self._lock:
                    self.committed += 1
                self._stop.wait(self._pause_s)


class Witness:
    """A table that gets a row every *pause_s* seconds, with the primary's own time of it.

    :param domain: of the transactions, on MariaDB.
    """

    def __init__(self, primary: Primary, *, name: str = "t", pause_s: float = 0.2, domain: int = 0) -> None:
        self.primary = primary
        self.table = f"witness.{name}"
        self._pause_s = pause_s
        self._domain = domain
        primary.execute(
            "CREATE DATABASE IF NOT EXISTS witness",
            f"CREATE TABLE IF NOT EXISTS {self.table} (id INT AUTO_INCREMENT PRIMARY KEY, at DATETIME(6))",
        )

    def write_until(self, end: datetime) -> None:
        """Write until the primary's clock shows *end*."""
        with self.primary.connect() as conn, conn.cursor() as cursor:
            if self._domain and self.primary.flavor == "mariadb":
                cursor.execute(f"SET SESSION gtid_domain_id={self._domain}")
            while True:
                cursor.execute(f"INSERT INTO {self.table} (at) VALUES (UTC_TIMESTAMP(6))")
                cursor.execute("SELECT UTC_TIMESTAMP(6)")
                ((now,),) = cursor.fetchall()
                if now.replace(tzinfo=UTC) >= end:
                    return
                time.sleep(self._pause_s)

    def before(self, moment: datetime) -> int:
        """Return id of the last row from before *moment*."""
        naive = moment.astimezone(UTC).replace(tzinfo=None)
        return int(self.primary.execute(f"SELECT MAX(id) FROM {self.table} WHERE at < '{naive}'")[0][0])


def create_zoo(conn: Connection[Any], files: Sequence[str] = ("zoo.sql", "zoo_mariadb_10_11.sql")) -> None:
    """Create what *files* (:attr:`Primary.zoo`) hold: one of every object that a backup must carry (D8)."""
    with conn.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00', sql_mode = ''")
        for name in files:
            for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines():
                if not line.startswith("--"):
                    cursor.execute(line.removesuffix(";"))
