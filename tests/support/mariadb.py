"""The one place that starts a MariaDB primary."""

from __future__ import annotations

import os
import subprocess
from typing import ClassVar

from airflow_restore_replay.core.flavor.mariadb import grants
from tests.support import unpacked
from tests.support.primary import (
    BACKUP_PASSWORD,
    ROOT_PASSWORD,
    Primary,
    Witness,
    WriteLoad,
    create_zoo,
    free_port,
)

__all__ = [
    "BACKUP_PASSWORD",
    "ROOT_PASSWORD",
    "MariaDb105Primary",
    "MariaDb118Primary",
    "MariaDbPrimary",
    "Witness",
    "WriteLoad",
    "create_zoo",
    "free_port",
]


class MariaDbPrimary(Primary):
    """See :class:`~tests.support.primary.Primary`."""

    flavor: ClassVar[str] = "mariadb"
    server_program: ClassVar[str] = "mariadbd"
    statement_time: ClassVar[str] = "max_statement_time"
    zoo: ClassVar[tuple[str, ...]] = ("zoo.sql", "zoo_mariadb_10_11.sql")

    def _install(self) -> None:
        user = ["--user=root"] if os.geteuid() == 0 else []
        command = [self.program("mariadb-install-db"), "--no-defaults", f"--datadir={self.datadir}", *user]
        command += [f"--tmpdir={self.tmp_dir}"]
        command += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        command += ["--innodb-log-file-size=16M", *self.install]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _command(self) -> list[str]:
        user = ["--user=root"] if os.geteuid() == 0 else []
        return [
            self.program("mariadbd"),
            "--no-defaults",
            *user,
            f"--datadir={self.datadir}",
            f"--tmpdir={self.tmp_dir}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--pid-file={self.root / 'pid'}",
            f"--log-error={self.log_path}",
            f"--server-id={self.server_id}",
            "--log-bin=binlog",
            "--binlog-format=ROW",
            "--log-slave-updates",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
            "--sync-binlog=0",
            # Of a file in memory the kernel's own threads do the asynchronous I/O, and take longer.
            "--innodb-use-native-aio=OFF",
            *self.options,
        ]

    def _secure(self) -> None:
        with self.connect(password="") as conn, conn.cursor() as cursor:
            cursor.execute("SET sql_log_bin=0")
            cursor.execute("SELECT user, host FROM mysql.global_priv WHERE user='' OR host<>'localhost'")
            for user, host in cursor.fetchall():
                cursor.execute(f"DROP USER '{user}'@'{host}'")
            cursor.execute(f"CREATE USER 'root'@'127.0.0.1' IDENTIFIED BY '{ROOT_PASSWORD}'")
            cursor.execute("GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION")
            cursor.execute(f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{ROOT_PASSWORD}'")

    def _grants(self, name: str, host: str) -> list[str]:
        return grants.statements(name, host)

    def follow(self, source: Primary) -> None:
        self.execute(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={source.port}, MASTER_USER='root', "
            f"MASTER_PASSWORD='{ROOT_PASSWORD}', MASTER_USE_GTID=slave_pos",
            "START SLAVE",
        )

    def promote(self) -> None:
        self.execute("STOP SLAVE", "RESET SLAVE ALL")


class MariaDb118Primary(MariaDbPrimary):
    """MariaDB 11.8 beside the system's own."""

    zoo: ClassVar[tuple[str, ...]] = (*MariaDbPrimary.zoo, "zoo_mariadb_11_8.sql")

    @property
    def bindir(self) -> str | None:
        return unpacked.programs("mariadb-11.8")


class MariaDb105Primary(MariaDbPrimary):
    """MariaDB 10.5 beside the system's own."""

    zoo: ClassVar[tuple[str, ...]] = ("zoo.sql",)

    @property
    def bindir(self) -> str | None:
        return unpacked.programs("mariadb-10.5")
