"""The node's ``mariadbd``."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pymysql

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor import account, server_record
from airflow_restore_replay.core.flavor.archive_server import ServingProcess
from airflow_restore_replay.core.flavor.errorlog import LogRules
from airflow_restore_replay.core.flavor.mariadb import errorlog, options
from airflow_restore_replay.core.flavor.mariadb.connect import connect
from airflow_restore_replay.core.flavor.mariadb.variables import VARIABLES
from airflow_restore_replay.core.flavor.programs import library_roots, run_installer
from airflow_restore_replay.core.flavor.server_options import run_as
from airflow_restore_replay.core.flavor.server_process import NodeProcess
from airflow_restore_replay.core.flavor.sql import run
from airflow_restore_replay.core.flavor.values import Conn, Endpoint
from airflow_restore_replay.core.flavor.variables import Variables
from airflow_restore_replay.core.system.processes import run_program


class MariaDbServer(NodeProcess):
    """See :class:`~airflow_restore_replay.core.flavor.base.NodeServer`."""

    server_program: ClassVar[str] = "mariadbd"
    client_program: ClassVar[str] = "mariadb"
    _copy_options: ClassVar[Sequence[str]] = options.COPY

    packages: ClassVar[dict[str, str]] = {
        "": "mariadb-server",
        "mariadb-backup": "mariadb-backup",
        "mbstream": "mariadb-backup",
    }
    _log_rules: ClassVar[LogRules] = errorlog.RULES
    variables: ClassVar[Variables] = VARIABLES

    def release(self) -> str:
        out = run_program([self.program("mariadbd"), "--version"])
        match = re.search(r"Ver (\d+\.\d+\.\d+)", out.stdout)
        if not match:
            raise PreflightFailed(
                f"mariadbd --version answered {out.stdout.strip()!r} {out.stderr.strip()!r}."
            )
        return match[1]

    def initialize(self) -> None:
        self._prepare_directories()
        with _plain_names(self.layout.datadir, self.layout.tmp_dir) as (datadir, tmp_dir):
            command = [
                self.program("mariadb-install-db"),
                "--no-defaults",
                *run_as(),
                f"--datadir={datadir}",
                f"--tmpdir={tmp_dir}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                *self.variables.birth_options(self.layout.variables),
            ]
            run_installer(command)

    def _command(self, *, socket: Path, init_file: Path, replaying: bool) -> list[str]:
        own = options.server_options(self.layout, socket=socket, init_file=init_file, replaying=replaying)
        return [self.program("mariadbd"), *own, *self._followed()]

    def _identified(self, password: str) -> str:
        # A hash, because a password policy that was restored from the primary must not refuse the account.
        return f"VIA mysql_native_password USING '{_native_hash(password)}'"

    def _connect(self, endpoint: Endpoint) -> Conn:
        return connect(endpoint)

    def _settle(self, conn: Conn) -> None:
        run(conn, "SET GLOBAL innodb_flush_log_at_trx_commit=1")
        with contextlib.suppress(pymysql.err.MySQLError):  # not dynamic before 10.9
            run(conn, f"SET GLOBAL innodb_log_file_size={options.REDO_AT_REST_BYTES}")
        run(conn, account.DROP)

    def _plugins(self) -> Iterator[Path]:
        for root in library_roots(self.layout.bindir):
            for found in (p for name in ("mysql", "mariadb") for p in [root / name / "plugin"] if p.is_dir()):
                yield from (path for pattern in options.SAFE_PLUGINS for path in found.glob(pattern))


class MariaDbArchiveServer(ServingProcess, MariaDbServer):
    """See :class:`~airflow_restore_replay.core.flavor.archive_server.ServingProcess`."""

    def _command(self, *, socket: Path, init_file: Path, replaying: bool) -> list[str]:
        command = MariaDbServer._command(self, socket=socket, init_file=init_file, replaying=replaying)
        return [*command, *self._service_options()]


def _native_hash(password: str) -> str:
    # The scheme of the server's mysql_native_password; the password is made from 24 random bytes.
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


@contextlib.contextmanager
def _plain_names(*directories: Path) -> Iterator[list[Path]]:
    """Yield links to *directories* whose paths need no quotes, for as long as the context lasts.

    mariadb-install-db is a shell script that does not quote its paths.
    """
    with tempfile.TemporaryDirectory(
        prefix=server_record.PREFIX, dir=server_record.SHORT_DIRECTORY
    ) as private:
        links = [Path(private) / str(number) for number in range(len(directories))]
        for link, directory in zip(links, directories, strict=True):
            link.symlink_to(directory)
        yield links
