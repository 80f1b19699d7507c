"""A throw-away PostgreSQL for Airflow's metadata: a cluster of its own, never the packaged one."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.mariadb import free_port

_USER = "postgres"


class PostgresServer:
    """Listens on 127.0.0.1 with a password that only this process knows. It refuses to run as root; then it runs
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

    @property
    def url(self) -> str:
        """:returns: for SQLAlchemy."""
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


def _newest_bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        raise RuntimeError("PostgreSQL is missing; `make setup` installs it.")
    return found[-1].parent
