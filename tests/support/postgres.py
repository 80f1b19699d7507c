"""A throw-away PostgreSQL for Airflow's metadata: a cluster of its own, never the packaged one."""

from __future__ import annotations

import inspect
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from tests.support import templates
from tests.support.primary import free_port

_USER = "postgres"


class PostgresServer:
    """Listens on 127.0.0.1 with a password of its own. It refuses to run as root; then it runs
    as the package's user ``postgres``."""

    def __init__(self) -> None:
        self._bin = _newest_bin()
        self._home = Path(tempfile.mkdtemp(prefix="rr-postgres-"))
        self._data = self._home / "data"
        self._port = free_port()
        self._password = secrets.token_hex(16)
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam(_USER)
            os.chown(self._home, account.pw_uid, account.pw_gid)
            self._as_user = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]

    @classmethod
    def start(cls) -> PostgresServer:
        """Make the cluster and start it."""
        server = cls()
        try:
            server._make()
        except BaseException:
            shutil.rmtree(server._home, ignore_errors=True)
            raise
        server._control("start")
        return server

    @classmethod
    def with_airflow(cls) -> PostgresServer:
        """Start on a copy of a cluster that has Airflow's tables: migrating them takes half a minute."""
        server = cls()
        recipe = inspect.getsource(sys.modules[cls.__module__]) + str(server._bin) + version("apache-airflow")
        template = templates.kept("postgres-with-airflow", recipe, _migrate)
        try:
            templates.copy_tree(template / "data", server._data)
            server._password = (template / "password").read_text()
            server._configure()
        except BaseException:
            shutil.rmtree(server._home, ignore_errors=True)
            raise
        server._control("start")
        return server

    @property
    def url(self) -> str:
        """Return the URL for SQLAlchemy."""
        return f"postgresql+psycopg2://airflow:{self._password}@127.0.0.1:{self._port}/postgres"

    def restart(self) -> None:
        """Break all connections and start again."""
        self._control("restart", "--mode=immediate")

    def disconnect(self, application: str) -> None:
        """End the connections of processes that were started with that ``PGAPPNAME``."""
        import psycopg2

        connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        try:
            with connection.cursor() as cursor:
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
                cursor.execute(query, [application])
        finally:
            connection.close()

    def stop(self) -> None:
        """Stop and remove everything; idempotent."""
        if self._home.exists():
            self._control("stop", "--mode=immediate", check=False)
            shutil.rmtree(self._home, ignore_errors=True)

    def _make(self) -> None:
        password = self._home / "password"
        password.write_text(self._password)
        password.chmod(0o644)  # its directory is the server's own, 0700
        self._run(
            "initdb",
            f"--pgdata={self._data}",
            "--username=airflow",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )
        password.unlink()
        self._configure()

    def _configure(self) -> None:
        """Add to the settings; of one that is there twice, the last counts."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": self._home,
            "fsync": "off",
            "max_connections": 200,
        }
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _control(self, *arguments: str, check: bool = True) -> None:
        self._run(
            "pg_ctl", "-w", f"--pgdata={self._data}", f"--log={self._home / 'log'}", *arguments, check=check
        )

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [*self._as_user, str(self._bin / program), *arguments]
        done = subprocess.run(
            command,
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if check and done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stdout.decode(errors='replace')}")


def _migrate(root: Path) -> None:
    """Make a cluster with Airflow's tables in *root*, and keep its password beside it."""
    server = PostgresServer.start()
    try:
        place = {"AIRFLOW_HOME": str(root / "airflow"), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.url}
        program = [str(Path(sys.executable).parent / "airflow"), "db", "migrate"]
        done = subprocess.run(
            program, env={**os.environ, **place}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"airflow db migrate failed:\n{done.stdout}{done.stderr}")
        server._control("stop", "--mode=fast")
        templates.copy_tree(server._data, root / "data")
    finally:
        server.stop()
    shutil.rmtree(root / "airflow", ignore_errors=True)
    secret = root / "password"
    secret.touch(0o600)
    secret.write_text(server._password)


def _newest_bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        raise RuntimeError("PostgreSQL is missing; `make setup` installs it.")
    return found[-1].parent
