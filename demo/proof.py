"""The final proof, with the server's own programs: a restored copy equals the primary at one GTID."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pymysql

from demo.screen import say
from demo.shop import Shop
from demo.stock import Stock
from demo.workspace import Workspace, run_tool
from tests.support.primary import ROOT_PASSWORD
from tests.support.processes import end

_SCHEMAS = ["shop", "load"]
_END_BYTES = 64 * 1024
_STALL_S = 60.0


class RestoredServer:
    """An ordinary server on a restored data directory, on a socket of its own."""

    def __init__(self, datadir: Path, stock: Stock) -> None:
        self._stock = stock
        self._home = Path(tempfile.mkdtemp(prefix="rr-proof-"))
        self.socket = self._home / "s"
        command = [*stock.start_command(datadir), f"--socket={self.socket}"]
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
        follow, status_of, stop = self._stock.follow(shop.primary.endpoint("restore_replay"), gtid)
        before = self.position()
        self.query(*follow)
        last, moved = before, time.monotonic()
        while (now := self.position()) != gtid:
            if now != last:
                last, moved = now, time.monotonic()
            status = self.query(status_of)[0]
            if status["Last_SQL_Error"] or status["Last_IO_Error"] or time.monotonic() > moved + _STALL_S:
                sys.exit(f"The restored copy does not replicate: {status}")
            time.sleep(0.2)
        self.query(stop)
        return self._stock.last_number(gtid) - self._stock.last_number(before)

    def position(self) -> str:
        """Return what it has executed."""
        return self.query(f"SELECT @@GLOBAL.{self._stock.position} AS p")[0]["p"].replace("\n", "")

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
    stock = shop.stock
    server = RestoredServer(target, stock)
    try:
        say(f"  An ordinary {stock.server} started on it, at GTID {server.position()}.")
        reference = space.root / "primary.sql"
        _dump(stock, space.secret_file("primary.cnf", shop.option_file()), reference, with_gtid=True)
        gtid = _gtid_of(stock, reference)
        say(f"  {stock.dump} of the primary, inside one snapshot at GTID {gtid}, while writes continue.")
        replayed = server.replicate_until(shop, gtid)
        say(f"  The restored copy replicated {replayed:,} more transactions and stopped exactly there.")
        own = shop.option_file().replace(shop.primary.socket, str(server.socket))
        _dump(stock, space.secret_file("restored.cnf", own), space.root / "restored.sql", with_gtid=False)
        _compare(reference, space.root / "restored.sql", gtid)
    finally:
        server.stop()


def _dump(stock: Stock, options: Path, target: Path, *, with_gtid: bool) -> None:
    run_tool(
        stock.program(stock.dump),
        f"--defaults-extra-file={options}",
        "--single-transaction",
        "--order-by-primary",
        "--skip-dump-date",
        "--routines",
        "--triggers",
        *stock.dump_options(with_gtid=with_gtid),
        f"--result-file={target}",
        "--databases",
        *_SCHEMAS,
    )


def _gtid_of(stock: Stock, dump: Path) -> str:
    """Return the GTID that a dump names in its head or, as MariaDB's newer ones, at its end."""
    with dump.open("rb") as stream:
        text = stream.read(_END_BYTES)
        stream.seek(max(_END_BYTES, dump.stat().st_size - _END_BYTES))
        text += stream.read()
    return stock.gtid_in(text.decode(errors="replace")) or sys.exit(f"{dump} names no GTID.")


def _compare(left: Path, right: Path, gtid: str) -> None:
    """Compare byte by byte, apart from comments and the next AUTO_INCREMENT, which replicas may hold differently."""
    for path in (left, right):
        run_tool(
            "sed",
            "-i",
            "-E",
            "-e",
            "/^(--|CHANGE MASTER|SET @.*(SQL_LOG_BIN|GTID_PURGED)|$)/d",
            "-e",
            "s/ AUTO_INCREMENT=[0-9]+//",
            path,
        )
    done = subprocess.run(["cmp", str(left), str(right)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"The restored copy differs from the primary at {gtid}: {done.stdout}{done.stderr}")
    rows = left.stat().st_size
    say(f"  cmp: both dumps, {rows:,} bytes each, are identical at GTID {gtid}.", "bold green")
