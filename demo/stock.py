"""Each flavor's own programs, as anybody uses them: nothing of this package is in here."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.flavor.values import Endpoint
from tests.support.mariadb import MariaDbPrimary
from tests.support.mysql import MySqlPrimary, programs
from tests.support.primary import Primary

_NUMBERS = (
    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {}) "
    "SELECT /*+ SET_VAR(cte_max_recursion_depth=1000000) */ {} FROM numbers"
)


@dataclass(frozen=True)
class Stock:
    """A flavor as its users know it.

    :param title: its usual spelling.
    :param seeds: the seed over the SQL port, and its own one.
    :param server, dump: names of programs.
    :param position: the variable with the position of a copy.
    """

    name: str
    title: str
    seeds: tuple[str, str]
    server: str
    dump: str
    position: str
    primary: type[Primary]

    def program(self, name: str) -> str:
        return f"{programs()}/{name}" if self.name == "mysql" else name

    def start_command(self, datadir: Path) -> list[str]:
        """Return argv of an ordinary server on a restored directory, which does not replicate by itself."""
        user = ["--user=root"] if os.geteuid() == 0 else []
        common = [self.program(self.server), "--no-defaults", *user, f"--datadir={datadir}"]
        # A copy that is not kept need not be synced for each of the transactions that it replicates.
        common += ["--skip-networking", "--server-id=77", "--innodb-flush-log-at-trx-commit=0"]
        if self.name == "mariadb":
            return [*common, "--skip-slave-start"]
        return [
            *common,
            *("--skip-replica-start", "--mysqlx=OFF", "--skip-log-bin", "--secure-file-priv=NULL"),
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
        ]

    def select_numbers(self, last: int, columns: str) -> str:
        """Return SQL of *columns* over ``{n}`` from 1 to *last*."""
        if self.name == "mariadb":
            return f"SELECT {columns.format(n='seq')} FROM shop.seq_1_to_{last}"
        return _NUMBERS.format(last, columns.format(n="n"))

    def follow(self, primary: Endpoint, gtid: str) -> tuple[list[str], str, str]:
        """Return statements that replicate until *gtid*; one that shows how it goes; one that ends it."""
        if self.name == "mariadb":
            change = (
                f"CHANGE MASTER TO MASTER_HOST='{primary.host}', MASTER_PORT={primary.port},"
                f" MASTER_USER='{primary.user}', MASTER_PASSWORD='{primary.password}', MASTER_USE_GTID=slave_pos"
            )
            start = f"START SLAVE UNTIL master_gtid_pos='{gtid}'"
            return [change, start], "SHOW SLAVE STATUS", "STOP SLAVE"
        change = (
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{primary.host}', SOURCE_PORT={primary.port},"
            " SOURCE_AUTO_POSITION=1, SOURCE_SSL=1"
        )
        start = f"START REPLICA UNTIL SQL_AFTER_GTIDS='{gtid}' USER='{primary.user}' PASSWORD='{primary.password}'"
        return [change, start], "SHOW REPLICA STATUS", "STOP REPLICA"

    def dump_options(self, *, with_gtid: bool) -> list[str]:
        if self.name == "mariadb":
            return ["--master-data=2", "--gtid"] if with_gtid else []
        return ["--no-tablespaces", f"--set-gtid-purged={'ON' if with_gtid else 'OFF'}"]

    def gtid_in(self, dump: str) -> str | None:
        """Return the GTID that a dump names.

        :param dump: its beginning and its end."""
        pattern = (
            r"SET GLOBAL gtid_slave_pos='([^']+)'"
            if self.name == "mariadb"
            else r"GTID_PURGED=/\*!80000 '\+'\*/ '([^']+)'"
        )
        found = re.search(pattern, dump)
        return found[1].replace("\n", "") if found else None

    def last_number(self, gtid: str) -> int:
        """Return the number of the last transaction of the only source."""
        return int(re.split(r"[-:]", gtid)[-1])


_STOCKS = {
    "mariadb": Stock(
        "mariadb",
        "MariaDB",
        ("logical", "physical"),
        "mariadbd",
        "mariadb-dump",
        "gtid_slave_pos",
        MariaDbPrimary,
    ),
    "mysql": Stock(
        "mysql", "MySQL", ("logical", "clone"), "mysqld", "mysqldump", "gtid_executed", MySqlPrimary
    ),
}


def chosen() -> Stock:
    """Return the flavor that ``FLAVOR`` names; MariaDB."""
    name = os.environ.get("FLAVOR", "mariadb")
    if name not in _STOCKS:
        raise SystemExit(f"FLAVOR={name} is not known; it is one of: {', '.join(_STOCKS)}.")
    return _STOCKS[name]
