"""One table of a large database: how little of the backup is fetched for it."""

from __future__ import annotations

from bench.protected import Protected
from bench.rows import Row
from bench.settings import Bench
from tests.support.mariadb import MariaDbPrimary

IDS = ("tables/fetched",)
_BAR = 0.05
#: of a row of sysbench with its index, on disk
_BYTES_A_ROW = 230
_SMALL_ROWS = 90_000


def rows(bench: Bench) -> list[Row]:
    """A table of 20 MB, and others of five times ``SIZE`` in sum."""
    tables = ("--tables=8", f"--table-size={5 * bench.data.size_bytes // 8 // _BYTES_A_ROW}")
    protected = Protected(bench, MariaDbPrimary, "physical", tables)
    target = bench.new_dir("one-table")
    try:
        protected.primary.execute(
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders LIKE sbtest.sbtest1",
            f"INSERT INTO shop.orders SELECT * FROM sbtest.sbtest1 LIMIT {_SMALL_ROWS}",
        )
        protected.call("cycle")
        restored = protected.call("restore", "--to", target, "--tables", "shop.orders")
        (backup,) = protected.call("list").answer["backups"]
    finally:
        protected.stop()
        bench.discard(target)
    fetched, total = restored.answer["fetched_bytes"], backup["total_bytes"]
    return [Row("tables/fetched", fetched / 1e6, total / 1e6, "MB", fetched / total, _BAR, at_most=True)]
