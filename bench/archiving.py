"""The archiver: how fast it catches up, its memory; and a search in what it archived."""

from __future__ import annotations

from bench.archiver_load import load_row
from bench.protected import Protected
from bench.rows import Row
from bench.settings import Bench
from tests.support.mariadb import MariaDbPrimary
from tests.support.mysql import MySqlPrimary
from tests.support.primary import Primary

IDS = ("archive/throughput", "archive/memory", "archive/load", "find/speed", "find/memory")
MYSQL_IDS = ("archive/mysql", "archive/mysql-memory")
_TABLES = ("--tables=4", "--table-size=50000")
_RATE_MB, _MEMORY_MB = 50.0, 150.0
#: a day of logs, 1 GB, in less than a minute
_FIND_RATE_MB, _FIND_MEMORY_MB = 1000 / 60, 300.0
#: of binary log, for each transaction of sysbench
_BYTES_A_TRANSACTION = 2000


def rows(bench: Bench) -> list[Row]:
    """Archive and search half of ``SIZE`` of binary log, at most 1 GB; then write beside a running archiver."""
    protected, size_mb = _written(bench, MariaDbPrimary, "logical")
    try:
        found = _archived(bench, protected, size_mb, "archive/throughput", "archive/memory")
        searched = protected.call("find", "--table", "sbtest.%", "--min-rows", "1000")
        found.append(load_row(bench, protected))
    finally:
        protected.stop()
    bench.keep("find", {"find": [searched.seconds]})
    speed, peak = size_mb / searched.seconds, searched.peak_bytes / 1e6
    return [
        *found,
        Row("find/speed", speed, _FIND_RATE_MB, "MB/s", speed / _FIND_RATE_MB, 1.0),
        Row("find/memory", peak, _FIND_MEMORY_MB, "MB", peak / _FIND_MEMORY_MB, 1.0, at_most=True),
    ]


def mysql_rows(bench: Bench) -> list[Row]:
    """Archive as much of MySQL's binary log."""
    protected, size_mb = _written(bench, MySqlPrimary, "logical")
    try:
        return _archived(bench, protected, size_mb, *MYSQL_IDS)
    finally:
        protected.stop()


def _written(bench: Bench, primary: type[Primary], seed: str) -> tuple[Protected, float]:
    """Return a cluster with binary log that is not archived yet, and how many MB of it."""
    protected = Protected(bench, primary, seed, _TABLES)
    protected.call("archive")
    before = protected.binlog_bytes()
    protected.write(min(bench.data.size_bytes // 2, 10**9) // _BYTES_A_TRANSACTION)
    return protected, (protected.binlog_bytes() - before) / 1e6


def _archived(bench: Bench, protected: Protected, size_mb: float, speed_id: str, memory_id: str) -> list[Row]:
    done = protected.call("archive")
    bench.keep(speed_id, {"archive": [done.seconds]})
    speed, peak = size_mb / done.seconds, done.peak_bytes / 1e6
    return [
        Row(speed_id, speed, _RATE_MB, "MB/s", speed / _RATE_MB, 1.0),
        Row(memory_id, peak, _MEMORY_MB, "MB", peak / _MEMORY_MB, 1.0, at_most=True),
    ]
