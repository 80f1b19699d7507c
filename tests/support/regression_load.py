"""The servers' own regression tests as load: they do what nobody thought of who wrote the other loads.

Each test runs alone, in a fresh schema ``test``, until it ends or fails at something that only its own harness has.
Results are not compared: what counts is what the primary has logged. Tests are left out that restart the server, that
write without the binary log, or that change the system's tables or the binary log themselves.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pymysql

from tests.support import unpacked
from tests.support.primary import Primary

_CHANGES = r"(insert( ignore)?( into)?|replace( into)?|update|delete from|truncate( table)?|(drop|alter|rename) table)"
_UNFIT = re.compile(
    r"restart|shutdown|kill_mysqld|crash|have_debug|debug_sync|rpl_|master-slave|galera|wsrep|big_test|sql_log_bin"
    r"|reset (master|binary)|purge (binary|master)|gtid|read_only|log_bin|binlog_do_db|skip_networking"
    rf"|{_CHANGES}\s+`?mysql`?\.|set password|root@|'root'@|flush_privileges"
    r"|set (global|persist) .*(timeout|max_connections|packet)",
    re.I,
)
_MOST_S = 20
#: flavor → the package's tests below the directory of its programs, and the program that runs one
_WHERE = {
    "mariadb": ("mariadb-tests", "../share/mysql/mysql-test", "main", "mariadb-test"),
    "mysql": ("mysql-tests", "../lib/mysql-test", "t", "mysqltest"),
}


def prepare(primary: Primary) -> None:
    """Let the tests in, which connect as root without a password."""
    if primary.flavor == "mariadb":
        query = "SELECT authentication_string FROM mysql.user WHERE user = 'root' AND host = 'localhost'"
        ((used,),) = primary.execute(query)
        primary.execute(
            f"ALTER USER root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING '{used}'"
        )
    else:
        primary.execute(
            "INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'",
            "ALTER USER root@localhost IDENTIFIED WITH auth_socket",
        )


class RegressionLoad:
    """A thread that runs one test after the other, in random order, until stopped.

    :ivar done: outcome of a test's program → tests.
    :ivar errors: always empty: a test may fail.
    """

    def __init__(self, primary: Primary, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.errors: dict[int, str] = {}
        self.pause_s = 0.0
        self._primary = primary
        self._dice = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        package, home, tests, self._program = _WHERE[primary.flavor]
        self._programs = Path(unpacked.programs(package))
        self._home = (self._programs / home).resolve()
        found = sorted((self._home / tests).glob("*.test"))
        self._tests = [path for path in found if not _UNFIT.search(path.read_text(errors="replace"))]
        assert len(self._tests) > 100, f"{len(self._tests)} tests in {self._home / tests}"

    def __enter__(self) -> RegressionLoad:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(pymysql.err.Error):  # the primary is being restarted, or cannot drop a schema
                self._primary.execute("DROP DATABASE IF EXISTS test", "CREATE DATABASE test")
            self.done[self._run_one(self._dice.choice(self._tests))] += 1
            self._stop.wait(self.pause_s)

    def _run_one(self, test: Path) -> str:
        primary = self._primary
        command = [
            str(self._programs / self._program),
            "--no-defaults",
            "--silent",
            "--user=root",
            f"--socket={primary.socket}",
            "--database=test",
            f"--basedir={self._home}",
            f"--test-file={test}",
            f"--logdir={primary.tmp_dir}",
            f"--tmpdir={primary.tmp_dir}",
        ]
        with subprocess.Popen(
            command,
            cwd=self._home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            for _ in range(_MOST_S * 10):
                with suppress(subprocess.TimeoutExpired):
                    return {0: "passed", 62: "skipped"}.get(process.wait(0.1), "failed")
                if self._stop.is_set():
                    break
            process.kill()
        return "ended"

    def _environment(self) -> dict[str, str]:
        primary = self._primary
        names = {
            "MYSQL_TEST_DIR": self._home,
            "MYSQLTEST_VARDIR": primary.root,
            "MYSQL_TMP_DIR": primary.tmp_dir,
            "MYSQLD_DATADIR": f"{primary.datadir}/",
            "MASTER_MYSOCK": primary.socket,
            "MASTER_MYPORT": primary.port,
            "MYSQL_CHARSETSDIR": "/usr/share/mysql/charsets",
        }
        return {"PATH": os.environ["PATH"], "LC_ALL": "C", **{k: str(v) for k, v in names.items()}}
