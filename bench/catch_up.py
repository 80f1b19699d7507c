"""Catch-up: 100 000 sysbench transactions, on a replay node and on replicas as they are installed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Endpoint, Position
from airflow_restore_replay.core.jobs.context import default_appliers
from airflow_restore_replay.core.system.cgroups import usable_cores
from bench.data import sysbench
from bench.measure import WrongBytes, alternate, shell
from bench.nodes import BUFFER_POOL_BYTES, checksums, layout_at
from bench.rows import Row
from bench.settings import Bench
from tests.support.mariadb import MariaDbPrimary
from tests.support.mysql import MySqlPrimary
from tests.support.primary import Primary

_TABLES = ("--tables=4", "--table-size=50000")
_TRANSACTIONS = 100_000
_AT_BYTES = 2_000_000_000
_PATIENCE_S = 1800.0
_QUICK = ("--innodb-buffer-pool-size=256M", "--innodb-doublewrite=0")


@dataclass(frozen=True)
class _Servers:
    """A flavor's primary and replicas.

    :param group: of the readings. :param ids: of the rows against a replica with sync_binlog=0, and =1.
    :param stock: what a replica that is kept has beside the flavor's defaults: its own binary log, our memory.
    :param appliers: of a replica by default; a node's follow its cores.
    """

    group: str
    ids: tuple[str, str]
    bars: tuple[float, float]
    primary: type[Primary]
    stock: tuple[str, ...]
    appliers: int


_KEPT = (
    "--innodb-flush-log-at-trx-commit=1",
    f"--innodb-buffer-pool-size={BUFFER_POOL_BYTES}",
    "--read-only=1",
)
_MARIADB = _Servers(
    "catch-up",
    ("catch-up/stock", "catch-up/sync-binlog"),
    (2.3, 4.0),
    MariaDbPrimary,
    (*_KEPT, "--innodb-log-file-size=96M", "--skip-slave-start"),
    1,
)
_MYSQL = _Servers(
    "catch-up-mysql",
    ("catch-up/mysql-stock", "catch-up/mysql-sync-binlog"),
    (1.5, 2.0),
    MySqlPrimary,
    (*_KEPT, "--innodb-redo-log-capacity=100M", "--skip-replica-start"),
    4,
)
IDS, MYSQL_IDS = _MARIADB.ids, _MYSQL.ids


def rows(bench: Bench) -> list[Row]:
    """Replay the same binary log from the same copy; 100 000 transactions at ``SIZE=2g``, fewer below."""
    return _rows(bench, _MARIADB)


def mysql_rows(bench: Bench) -> list[Row]:
    """The same on MySQL."""
    return _rows(bench, _MYSQL)


def _rows(bench: Bench, servers: _Servers) -> list[Row]:
    count = max(1000, _TRANSACTIONS * min(bench.data.size_bytes, _AT_BYTES) // _AT_BYTES)
    race = _Race(bench, servers, count)
    try:
        measures: dict[str, Callable[[], float]] = {
            "node": race.node,
            "stock replica": lambda: race.replica("--sync-binlog=0"),
            "sync_binlog=1": lambda: race.replica("--sync-binlog=1"),
        }
        found = bench.keep(servers.group, alternate(measures, repeat=bench.repeat))
    finally:
        race.stop()
    rate = {name: count / seconds for name, seconds in found.items()}
    peers = zip(servers.ids, ("stock replica", "sync_binlog=1"), servers.bars, strict=True)
    return [
        Row(row_id, rate["node"], rate[peer], "tx/s", rate["node"] / rate[peer], bar)
        for row_id, peer, bar in peers
    ]


class _Race:
    """A primary with *count* transactions in its binary log, and a copy from before them."""

    def __init__(self, bench: Bench, servers: _Servers, count: int) -> None:
        self._bench, self._servers = bench, servers
        self._flavor = get_flavor(servers.primary.flavor)
        self._root = bench.new_dir("catch-up")
        self._copy = self._root / "copy"
        # The primary is quick; only the replicas are measured.
        self._primary = servers.primary.start(self._root / "primary", options=_QUICK)
        self._primary.create_backup_account()
        self._primary.execute("CREATE DATABASE sbtest")
        sysbench(self._primary, "oltp_write_only", *_TABLES, "--threads=2", "prepare")
        self._before = self._position()
        self._primary.stop()
        shutil.copytree(self._primary.datadir, self._copy)
        for name in ("binlog.*", "ib_buffer_pool", "auto.cnf"):
            for path in self._copy.glob(name):
                path.unlink()
        self._primary = servers.primary.start(self._root / "primary", port=self._primary.port, options=_QUICK)
        events = ("--threads=4", f"--events={count}", "--time=0")
        sysbench(self._primary, "oltp_write_only", *_TABLES, *events, "run")
        self._goal = self._position()
        self._checksum = checksums(self._primary.connect(), 4)
        bench.note(f"{servers.group} server", self._primary.execute("SELECT VERSION()")[0][0])
        bench.note(f"{servers.group} transactions", count)

    def _position(self) -> Position:
        with self._primary.connect() as conn:
            return self._flavor.primary_position(conn)

    def node(self) -> float:
        """Return seconds on a replay node, with the options that cycles use."""
        place = self._bench.new_dir("node")
        layout = layout_at(place, self._primary)
        self._put_copy(layout.datadir)
        server = self._flavor.server(layout)
        server.start(replaying=True)
        try:
            with server.connect() as conn:
                appliers = default_appliers(usable_cores())
                seconds = self._replay(conn, self._primary.endpoint("restore_replay"), appliers=appliers)
        finally:
            server.kill()
        self._bench.discard(place)
        return seconds

    def replica(self, *options: str) -> float:
        """Return seconds on a replica that is meant to be kept."""
        place = self._bench.new_dir("replica")
        self._put_copy(place / "data")
        server = self._servers.primary.start(place, server_id=7, options=(*self._servers.stock, *options))
        try:
            with server.connect() as conn:
                endpoint = self._primary.endpoint("restore_replay")
                seconds = self._replay(conn, endpoint, appliers=self._servers.appliers)
        finally:
            server.kill()
        self._bench.discard(place)
        return seconds

    def _put_copy(self, datadir: Path) -> None:
        datadir.parent.mkdir(parents=True)
        shell(f"cp -a {self._copy} {datadir}")

    def _replay(self, conn: Any, primary: Endpoint, *, appliers: int) -> float:
        """Return seconds from the start of replication until the goal is contained."""
        self._flavor.set_executed(conn, self._before)
        self._bench.caches.drop()
        begun = time.monotonic()
        self._flavor.start_replication(conn, primary, until=self._goal, appliers=appliers)
        while not self._flavor.executed_position(conn).contains(self._goal):
            status = self._flavor.replication_status(conn)
            if status.error or time.monotonic() - begun > _PATIENCE_S:
                raise RuntimeError(f"replication stopped at {status.applied}: {status.error}")
            time.sleep(0.05)
        seconds = time.monotonic() - begun
        if checksums(conn, 4) != self._checksum:
            raise WrongBytes(f"tables differ from the primary's at {self._flavor.executed_position(conn)}")
        return seconds

    def stop(self) -> None:
        self._primary.stop()
        self._bench.discard(self._root)
