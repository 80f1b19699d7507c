"""The one place that starts a MySQL primary; the server comes from tools/unpacked-server."""

from __future__ import annotations

import os
import subprocess
from typing import ClassVar

from airflow_restore_replay.core.flavor.mysql import grants
from airflow_restore_replay.core.flavor.mysql.options import WITHOUT_INSTRUMENTS
from tests.support import unpacked
from tests.support.primary import ROOT_PASSWORD, Primary


def programs() -> str:
    """Return directory of MySQL's programs."""
    return unpacked.programs("mysql")


def _user() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


class MySqlPrimary(Primary):
    """See :class:`~tests.support.primary.Primary`."""

    flavor: ClassVar[str] = "mysql"
    server_program: ClassVar[str] = "mysqld"
    statement_time: ClassVar[str] = "max_execution_time"
    zoo: ClassVar[tuple[str, ...]] = ("zoo_mysql.sql",)

    @property
    def bindir(self) -> str | None:
        return programs()

    def _install(self) -> None:
        command = [self.program("mysqld"), "--no-defaults", *_user(), "--initialize-insecure"]
        command += [f"--datadir={self.datadir}", f"--tmpdir={self.tmp_dir}", "--innodb-redo-log-capacity=32M"]
        command += [
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF",
            "--innodb-flush-method=nosync",
            *self.install,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _command(self) -> list[str]:
        return [
            self.program("mysqld"),
            "--no-defaults",
            *_user(),
            f"--datadir={self.datadir}",
            f"--tmpdir={self.tmp_dir}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--pid-file={self.root / 'pid'}",
            f"--log-error={self.log_path}",
            f"--server-id={self.server_id}",
            "--mysqlx=OFF",
            "--secure-file-priv=NULL",
            "--log-bin=binlog",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M",
            "--innodb-redo-log-capacity=32M",
            "--innodb-flush-log-at-trx-commit=0",
            "--sync-binlog=0",
            *WITHOUT_INSTRUMENTS,
            "--innodb-log-buffer-size=4M",
            *self.options,
        ]

    def _secure(self) -> None:
        with self.connect(password="") as conn, conn.cursor() as cursor:
            cursor.execute("SET sql_log_bin=0")
            cursor.execute("INSTALL PLUGIN clone SONAME 'mysql_clone.so'")
            cursor.execute(f"CREATE USER 'root'@'127.0.0.1' IDENTIFIED BY '{ROOT_PASSWORD}'")
            cursor.execute("GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION")
            cursor.execute(f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{ROOT_PASSWORD}'")

    def _grants(self, name: str, host: str) -> list[str]:
        return grants.statements(name, host)

    def follow(self, source: Primary) -> None:
        self.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={source.port}, SOURCE_USER='root', "
            f"SOURCE_PASSWORD='{ROOT_PASSWORD}', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1",
            "START REPLICA",
        )

    def promote(self) -> None:
        self.execute("STOP REPLICA", "RESET REPLICA ALL")
