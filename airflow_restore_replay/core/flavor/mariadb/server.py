"""The node's ``mariadbd``."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pymysql

from airflow_restore_replay.core.errors import NodeFull, PreflightFailed, SeedFailed
from airflow_restore_replay.core.flavor.errorlog import LogRules
from airflow_restore_replay.core.flavor.mariadb import account, classify, errorlog, options
from airflow_restore_replay.core.flavor.mariadb.connect import connect
from airflow_restore_replay.core.flavor.server_process import NodeProcess, last_line
from airflow_restore_replay.core.flavor.sql import run
from airflow_restore_replay.core.flavor.values import Conn, Endpoint
from airflow_restore_replay.core.system.processes import run_program


class MariaDbServer(NodeProcess):
    """See :class:`~airflow_restore_replay.core.flavor.base.NodeServer`."""

    packages: ClassVar[dict[str, str]] = {
        "": "mariadb-server",
        "mariadb-backup": "mariadb-backup",
        "mbstream": "mariadb-backup",
    }
    _log_rules: ClassVar[LogRules] = errorlog.RULES

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
                *options.run_as(),
                f"--datadir={datadir}",
                f"--tmpdir={tmp_dir}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ]
            done = run_program(command)
        if done.returncode:
            text = done.stdout + done.stderr
            kind = NodeFull if classify.disk_full(text) else SeedFailed
            raise kind(f"mariadb-install-db failed with status {done.returncode}: {last_line(text)}")

    def _command(self, *, socket: Path, init_file: Path, replaying: bool) -> list[str]:
        own = options.server_options(self.layout, socket=socket, init_file=init_file, replaying=replaying)
        return [self.program("mariadbd"), *own]

    def _account(self, password: str) -> list[str]:
        return account.create_statements(password)

    def _connect(self, endpoint: Endpoint) -> Conn:
        return connect(endpoint)

    def _settle(self, conn: Conn) -> None:
        run(conn, "SET GLOBAL innodb_flush_log_at_trx_commit=1")
        with contextlib.suppress(pymysql.err.MySQLError):  # not dynamic before 10.9
            run(conn, f"SET GLOBAL innodb_log_file_size={options.REDO_AT_REST_BYTES}")
        run(conn, account.DROP)

    def _disk_full(self, text: str) -> bool:
        return classify.disk_full(text)

    def _plugins(self) -> Iterator[Path]:
        for root in self._library_roots():
            for found in (p for name in ("mysql", "mariadb") for p in [root / name / "plugin"] if p.is_dir()):
                yield from (path for pattern in options.SAFE_PLUGINS for path in found.glob(pattern))


@contextlib.contextmanager
def _plain_names(*directories: Path) -> Iterator[list[Path]]:
    """Yield links to *directories* whose paths need no quotes, for as long as the context lasts.

    mariadb-install-db is a shell script that does not quote its paths.
    """
    with tempfile.TemporaryDirectory(prefix="restore-replay-", dir="/tmp") as private:
        links = [Path(private) / str(number) for number in range(len(directories))]
        for link, directory in zip(links, directories, strict=True):
            link.symlink_to(directory)
        yield links
