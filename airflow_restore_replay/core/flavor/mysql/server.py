"""The node's ``mysqld``."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pymysql

from airflow_restore_replay.core.errors import NodeServerCrashed, PreflightFailed
from airflow_restore_replay.core.flavor import account
from airflow_restore_replay.core.flavor.archive_server import ServingProcess
from airflow_restore_replay.core.flavor.errorlog import LogRules
from airflow_restore_replay.core.flavor.mysql import errorlog, options
from airflow_restore_replay.core.flavor.mysql.connect import connect, release
from airflow_restore_replay.core.flavor.mysql.identity import NODE_UUID_PREFIX
from airflow_restore_replay.core.flavor.mysql.tables import forget_cached_estimates
from airflow_restore_replay.core.flavor.mysql.variables import VARIABLES
from airflow_restore_replay.core.flavor.programs import library_roots, run_installer
from airflow_restore_replay.core.flavor.server_options import run_as
from airflow_restore_replay.core.flavor.server_process import NodeProcess
from airflow_restore_replay.core.flavor.sql import run, status
from airflow_restore_replay.core.flavor.values import Conn, Endpoint
from airflow_restore_replay.core.flavor.variables import Variables
from airflow_restore_replay.core.system.processes import run_program


class MySqlServer(NodeProcess):
    """See :class:`~airflow_restore_replay.core.flavor.base.NodeServer`."""

    server_program: ClassVar[str] = "mysqld"
    client_program: ClassVar[str] = "mysql"
    _copy_options: ClassVar[Sequence[str]] = options.COPY

    packages: ClassVar[dict[str, str]] = {
        "": "mysql-server",
        "mysql": "mysql-client",
        "mysqldump": "mysql-client",
    }
    _log_rules: ClassVar[LogRules] = errorlog.RULES
    variables: ClassVar[Variables] = VARIABLES

    def release(self) -> str:
        program = self.program("mysqld")
        out = run_program([program, "--no-defaults", "--version"])
        match = re.search(r"Ver (\d+\.\d+\.\d+)", out.stdout)
        if not match or "mariadb" in out.stdout.lower().split("ver", 1)[1]:
            raise PreflightFailed(
                f"{program} --version answered {out.stdout.strip()!r} {out.stderr.strip()!r}.",
                hint="Point node.bindir at the programs of a MySQL server.",
            )
        return match[1]

    def initialize(self) -> None:
        self._prepare_directories()
        command = [
            self.program("mysqld"),
            "--no-defaults",
            *run_as(),
            "--initialize-insecure",
            f"--datadir={self.layout.datadir}",
            f"--tmpdir={self.layout.tmp_dir}",
            f"--plugin-dir={self.layout.plugin_dir}",
            *options.NO_KEYS,
            *self.variables.birth_options(self.layout.variables),
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF",
            "--log-error-verbosity=1",
        ]
        run_installer(command)

    def _command(self, *, socket: Path, init_file: Path, replaying: bool) -> list[str]:
        self._name_server()
        own = options.server_options(
            self.layout, socket=socket, init_file=init_file, replaying=replaying, release=self.release()
        )
        return [self.program("mysqld"), *own, *self._followed()]

    def _identified(self, password: str) -> str:
        # Components that could refuse the password are not in the node's plugin directory.
        return f"WITH caching_sha2_password BY '{password}' PASSWORD EXPIRE NEVER"

    def _connect(self, endpoint: Endpoint) -> Conn:
        conn = connect(endpoint)
        # A restored server would otherwise return estimates and update times that the primary had cached.
        forget_cached_estimates(conn)
        return conn

    def _begin(self, conn: Conn, *, replaying: bool) -> None:
        if replaying:
            self.write_without_redo(conn)

    def write_without_redo(self, conn: Conn) -> None:
        """Disable the redo log: a server that is killed after this cannot start again, and need not.

        Source: MySQL manual, "Disabling Redo Logging" (8.0.21).
        """
        if release(conn) >= (8, 0, 21):
            run(conn, "ALTER INSTANCE DISABLE INNODB REDO_LOG")

    def _settle(self, conn: Conn) -> None:
        # The disabled state survives even a clean stop, so a restored copy would run without a redo log.
        if release(conn) >= (8, 0, 21):
            run(conn, "ALTER INSTANCE ENABLE INNODB REDO_LOG")
            enabled = status(conn, "Innodb_redo_log_enabled").get("innodb_redo_log_enabled")
            if enabled != "ON":
                raise NodeServerCrashed(
                    f"The node's redo log is {enabled} before the stop, ON is expected: nothing can be copied."
                )
        run(conn, "SET GLOBAL innodb_flush_log_at_trx_commit=1")
        with contextlib.suppress(pymysql.err.MySQLError):  # not dynamic before 8.0.30
            run(conn, f"SET GLOBAL innodb_redo_log_capacity={options.REDO_AT_REST_BYTES}")
        run(conn, account.DROP)

    def _plugins(self) -> Iterator[Path]:
        for root in library_roots(self.layout.bindir):
            for found in (root / "mysql" / "plugin", root / "plugin"):
                yield from (path for name in options.SAFE_PLUGINS if (path := found / name).exists())

    def _name_server(self) -> None:
        """Give the server a new UUID at each start, with a prefix by which a node's transactions are recognized."""
        rest = secrets.token_hex(8)
        uuid = f"{NODE_UUID_PREFIX}-4{rest[:3]}-8{rest[3:6]}-{secrets.token_hex(6)}"
        path = self.layout.datadir / "auto.cnf"
        path.write_text(f"[auto]\nserver-uuid={uuid}\n", encoding="ascii")
        path.chmod(0o600)


class MySqlArchiveServer(ServingProcess, MySqlServer):
    """See :class:`~airflow_restore_replay.core.flavor.archive_server.ServingProcess`."""

    def _command(self, *, socket: Path, init_file: Path, replaying: bool) -> list[str]:
        command = MySqlServer._command(self, socket=socket, init_file=init_file, replaying=replaying)
        return [*command, *self._service_options()]
