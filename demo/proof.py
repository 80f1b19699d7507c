"""The final proof, with MariaDB's own programs: a restored copy equals the primary at one GTID."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pymysql

from demo.screen import say
from demo.shop import Shop
from demo.workspace import Workspace, run_tool
from tests.support.mariadb import ROOT_PASSWORD
from tests.support.processes import end

_SCHEMAS = ["shop", "load"]
_GTID = re.compile(r"SET GLOBAL gtid_slave_pos='([^']+)'")


class RestoredServer:
    """An ordinary server on a restored data directory, on a socket of its own."""

    def __init__(self, datadir: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="rr-proof-"))
        self.socket = self._home / "s"
        command = ["mariadbd", "--no-defaults", f"--datadir={datadir}", f"--socket={self.socket}"]
        command += ["--skip-networking", "--skip-slave-start", "--server-id=77", "--user=root"]
        command += [f"--log-error={datadir.parent / 'restored.err'}", f"--pid-file={self._home / 'pid'}"]
        # Before it opens its log it warns about limits of this machine, which is no news to anybody.
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def query(self, *statements: str, timeout_s: float = 60.0) -> list[dict[str, str]]:
        """Run statements as root; wait for the server if it is not up yet.

        :returns: rows of the last one.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                conn = pymysql.connect(
                    unix_socket=str(self.socket),
                    user="root",
                    password=ROOT_PASSWORD,
                    autocommit=True,
                    cursorclass=pymysql.cursors.DictCursor,
                )
                break
            except pymysql.err.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.2)
        with conn, conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def replicate_until(self, shop: Shop, gtid: str) -> int:
        """Replicate from the primary and stop exactly at *gtid*.

        :returns: transactions replayed, by the last domain's sequence numbers.
        """
        account = shop.primary.endpoint("restore_replay")
        before = self.query("SELECT @@GLOBAL.gtid_slave_pos AS p")[0]["p"]
        self.query(
            f"CHANGE MASTER TO MASTER_HOST='{account.host}', MASTER_PORT={account.port},"
            f" MASTER_USER='{account.user}', MASTER_PASSWORD='{account.password}',"
            " MASTER_USE_GTID=slave_pos",
            f"START SLAVE UNTIL master_gtid_pos='{gtid}'",
        )
        deadline = time.monotonic() + 120
        while self.query("SELECT @@GLOBAL.gtid_slave_pos AS p")[0]["p"] != gtid:
            status = self.query("SHOW SLAVE STATUS")[0]
            if status["Last_SQL_Error"] or status["Last_IO_Error"] or time.monotonic() > deadline:
                sys.exit(f"The restored copy does not replicate: {status}")
            time.sleep(0.2)
        self.query("STOP SLAVE")
        return _sequence(gtid) - _sequence(before)

    def stop(self) -> None:
        end(self._process)
        for path in self._home.iterdir():
            path.unlink()
        self._home.rmdir()


def prove(space: Workspace, shop: Shop, cluster: str) -> None:
    """Restore the newest backup, start it, bring it to the GTID of a dump of the primary, dump it, compare.

    :raises SystemExit: they differ.
    """
    target = space.root / "restored"
    restored = run_tool(
        "restore-replay", "restore", "--config", space.cluster_file, "--cluster", cluster, "--to", target
    )
    for line in restored.stdout.splitlines():
        say(f"  {line}", "dim")
    server = RestoredServer(target)
    try:
        position = server.query("SELECT @@GLOBAL.gtid_slave_pos AS p")[0]["p"]
        say(f"  An ordinary mariadbd started on it, at GTID {position}.")
        reference = space.root / "primary.sql"
        _dump(space.secret_file("primary.cnf", shop.option_file()), reference, "--master-data=2", "--gtid")
        gtid = _gtid_of(reference)
        say(f"  mariadb-dump of the primary, inside one snapshot at GTID {gtid}, while writes continue.")
        replayed = server.replicate_until(shop, gtid)
        say(f"  The restored copy replicated {replayed:,} more transactions and stopped exactly there.")
        own = shop.option_file().replace(shop.primary.socket, str(server.socket))
        _dump(space.secret_file("restored.cnf", own), space.root / "restored.sql")
        _compare(reference, space.root / "restored.sql", gtid)
    finally:
        server.stop()


def _dump(options: Path, target: Path, *extra: str) -> None:
    run_tool(
        "mariadb-dump",
        f"--defaults-extra-file={options}",
        "--single-transaction",
        "--order-by-primary",
        "--skip-dump-date",
        "--routines",
        "--triggers",
        *extra,
        f"--result-file={target}",
        "--databases",
        *_SCHEMAS,
    )


def _gtid_of(dump: Path) -> str:
    with dump.open(encoding="utf-8") as stream:
        for line in stream:
            if match := _GTID.search(line):
                return match[1]
    sys.exit(f"{dump} names no GTID.")


def _compare(left: Path, right: Path, gtid: str) -> None:
    """Compare byte by byte, apart from comments and the next AUTO_INCREMENT, which replicas may hold differently."""
    for path in (left, right):
        run_tool(
            "sed", "-i", "-E", "-e", "/^(--|CHANGE MASTER|$)/d", "-e", "s/ AUTO_INCREMENT=[0-9]+//", path
        )
    done = subprocess.run(["cmp", str(left), str(right)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"The restored copy differs from the primary at {gtid}: {done.stdout}{done.stderr}")
    rows = left.stat().st_size
    say(f"  cmp: both dumps, {rows:,} bytes each, are identical at GTID {gtid}.", "bold green")


def _sequence(gtid: str) -> int:
    return int(gtid.rpartition("-")[2])
