"""To a moment 100 000 sysbench transactions after the base: against the servers' own backup and binary log programs.

Both sides start from stored files on the same disk and end with a cleanly stopped data directory, synced. The peers get
their binary logs for nothing, as plain files beside the backup.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import WrongBytes, alternate, shell
from bench.nodes import BUFFER_POOL_BYTES, checksums
from bench.protected import Protected
from bench.rows import Row
from bench.settings import Bench
from tests.support.mariadb import MariaDbPrimary
from tests.support.mysql import MySqlPrimary
from tests.support.primary import ROOT_PASSWORD, Primary

IDS, MYSQL_IDS = ("moment/mariadb",), ("moment/mysql",)
_TABLES = ("--tables=4", "--table-size=50000")
_TRANSACTIONS = 100_000
_AT_BYTES = 2_000_000_000
_BAR = 2.5
_STOCK = (
    f"--innodb-buffer-pool-size={BUFFER_POOL_BYTES}",
    "--innodb-flush-log-at-trx-commit=1",
    "--skip-log-bin",
)


def rows(bench: Bench) -> list[Row]:
    """100 000 transactions at ``SIZE=2g``, fewer below."""
    return _rows(bench, "moment/mariadb", _MariaDb)


def mysql_rows(bench: Bench) -> list[Row]:
    """The same on MySQL."""
    return _rows(bench, "moment/mysql", _MySql)


def _rows(bench: Bench, row_id: str, race_of: Callable[[Bench, int], _Race]) -> list[Row]:
    count = max(1000, _TRANSACTIONS * min(bench.data.size_bytes, _AT_BYTES) // _AT_BYTES)
    race = race_of(bench, count)
    try:
        measures: dict[str, Callable[[], float]] = {"ours": race.ours, "stock": race.stock}
        found = bench.keep(row_id, alternate(measures, repeat=bench.repeat))
    finally:
        race.protected.stop()
    rates = count / found["ours"], count / found["stock"]
    return [Row(row_id, *rates, "tx/s", rates[0] / rates[1], _BAR)]


class _Race:
    """A base backup of both sides, and *count* transactions after it, archived."""

    primary: type[Primary]
    seed: str

    def __init__(self, bench: Bench, count: int) -> None:
        self.protected = Protected(bench, self.primary, self.seed, _TABLES)
        self._bench = bench
        self._base = self.protected.root / "stock-base"
        self.protected.call("cycle")
        self._before = self.take_base(self._base)
        self.protected.write(count)
        self._goal = self.protected.position()
        self._checksum = checksums(self.protected.primary.connect(), 4)
        self.protected.call("archive")
        self.protected.primary.execute("FLUSH BINARY LOGS")
        bench.note(f"{self.primary.flavor} transactions to a moment", count)

    def take_base(self, base: Path) -> Any:
        """Make the peer's backup, and return where its binary log begins."""
        raise NotImplementedError

    def prepare(self, base: Path) -> None:
        """Make a copied backup one that a server starts on."""

    def log_program(self) -> list[str]:
        """Return what prints the transactions after the backup."""
        raise NotImplementedError

    def client(self) -> str:
        raise NotImplementedError

    def ours(self) -> float:
        target = self._bench.new_dir("moment")
        seconds = self.protected.call("restore", "--to", target, "--latest").seconds
        self._compare(target)
        return seconds

    def stock(self) -> float:
        place = self._bench.new_dir("stock")
        place.mkdir(parents=True)
        self._bench.caches.drop()
        begun = time.monotonic()
        shell(f"cp -a {self._base} {place / 'data'}")
        self.prepare(place / "data")
        server = self.primary.start(place, server_id=7, options=_STOCK)
        try:
            client = [
                server.program(self.client()),
                "--no-defaults",
                f"--socket={server.socket}",
                "--user=root",
            ]
            feed = (
                f"{shlex.join(self.log_program())} | {shlex.join([*client, f'--password={ROOT_PASSWORD}'])}"
            )
            subprocess.run(["bash", "-o", "pipefail", "-c", feed], check=True)
        finally:
            server.stop()
        shell(f"sync -f {place}")
        seconds = time.monotonic() - begun
        self._compare(place / "data")
        return seconds

    def _compare(self, datadir: Path) -> None:
        place = self._bench.new_dir("compared")
        place.mkdir(parents=True)
        shutil.move(datadir, place / "data")
        server = self.primary.start(place, server_id=8, options=_STOCK)
        try:
            found = checksums(server.connect(), 4)
        finally:
            server.discard()
        self._bench.discard(place)
        if found != self._checksum:
            raise WrongBytes(f"the tables in {datadir} differ from the primary's at {self._goal}")


class _MariaDb(_Race):
    """``mariadb-backup --prepare``, then ``mariadb-binlog | mariadb``."""

    primary = MariaDbPrimary
    seed = "physical"

    def take_base(self, base: Path) -> tuple[str, int]:
        primary = self.protected.primary
        access = [f"--socket={primary.socket}", "--user=root", f"--password={ROOT_PASSWORD}"]
        subprocess.run(
            ["mariadb-backup", "--backup", *access, f"--target-dir={base}"], check=True, capture_output=True
        )
        name, offset, *_ = (base / "xtrabackup_binlog_info").read_text().split()
        return name, int(offset)

    def prepare(self, base: Path) -> None:
        subprocess.run(
            ["mariadb-backup", "--prepare", f"--target-dir={base}"], check=True, capture_output=True
        )

    def log_program(self) -> list[str]:
        name, offset = self._before
        primary = self.protected.primary
        names = [str(row[0]) for row in primary.execute("SHOW BINARY LOGS")]
        files = [str(primary.datadir / each) for each in names[names.index(name) :]]
        return ["mariadb-binlog", f"--start-position={offset}", *files]

    def client(self) -> str:
        return "mariadb"


class _MySql(_Race):
    """A cold copy, which needs no preparation, then ``mysqlbinlog | mysql``."""

    primary = MySqlPrimary
    seed = "clone"

    def take_base(self, base: Path) -> tuple[str, int]:
        primary = self.protected.primary
        primary.stop()
        shutil.copytree(primary.datadir, base, ignore=shutil.ignore_patterns("binlog.*", "auto.cnf"))
        primary.restart()
        name = str(primary.execute("SHOW BINARY LOGS")[-1][0])
        return name, 4

    def log_program(self) -> list[str]:
        name, offset = self._before
        primary = self.protected.primary
        names = [str(row[0]) for row in primary.execute("SHOW BINARY LOGS")]
        files = [str(primary.datadir / each) for each in names[names.index(name) :]]
        return [primary.program("mysqlbinlog"), f"--start-position={offset}", *files]

    def client(self) -> str:
        return "mysql"
