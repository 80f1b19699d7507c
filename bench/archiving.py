"""The archiver: how fast it catches up, its memory, and what the primary loses; and a search in what it archived."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import medians
from bench.protected import Protected
from bench.rows import Row
from bench.settings import Bench
from tests.support.mariadb import MariaDbPrimary

IDS = ("archive/throughput", "archive/memory", "archive/load", "find/speed", "find/memory")
_TABLES = ("--tables=4", "--table-size=50000")
_RATE_MB, _MEMORY_MB, _LEAST_RATE = 50.0, 150.0, 0.97
#: a day of logs, 1 GB, in less than a minute
_FIND_RATE_MB, _FIND_MEMORY_MB = 1000 / 60, 300.0
#: of binary log, for each transaction of sysbench
_BYTES_A_TRANSACTION = 2000
_LOAD_TRANSACTIONS = 20_000


def rows(bench: Bench) -> list[Row]:
    """Archive and search half of ``SIZE`` of binary log, at most 1 GB; then write beside a running archiver."""
    protected = Protected(bench, MariaDbPrimary, "logical", _TABLES)
    try:
        protected.call("archive")
        before = protected.binlog_bytes()
        protected.write(min(bench.data.size_bytes // 2, 10**9) // _BYTES_A_TRANSACTION)
        size_mb = (protected.binlog_bytes() - before) / 1e6
        archived = protected.call("archive")
        searched = protected.call("find", "--table", "sbtest.%", "--min-rows", "1000")
        rates: dict[str, list[float]] = {"alone": [], "archived": []}
        for _ in range(bench.repeat):
            rates["alone"].append(protected.write(_LOAD_TRANSACTIONS))
            protected.call("archive")
            with _following(protected):
                rates["archived"].append(protected.write(_LOAD_TRANSACTIONS))
        beside = medians(rates)
    finally:
        protected.stop()
    bench.keep("archive", {"archive": [archived.seconds], "find": [searched.seconds]})
    peaks = archived.peak_bytes / 1e6, searched.peak_bytes / 1e6
    speeds = size_mb / archived.seconds, size_mb / searched.seconds
    kept = beside["archived"] / beside["alone"]
    return [
        Row("archive/throughput", speeds[0], _RATE_MB, "MB/s", speeds[0] / _RATE_MB, 1.0),
        Row("archive/memory", peaks[0], _MEMORY_MB, "MB", peaks[0] / _MEMORY_MB, 1.0, at_most=True),
        Row("archive/load", beside["archived"], beside["alone"], "tx/s", kept, _LEAST_RATE),
        Row("find/speed", speeds[1], _FIND_RATE_MB, "MB/s", speeds[1] / _FIND_RATE_MB, 1.0),
        Row("find/memory", peaks[1], _FIND_MEMORY_MB, "MB", peaks[1] / _FIND_MEMORY_MB, 1.0, at_most=True),
    ]


@contextlib.contextmanager
def _following(protected: Protected) -> Iterator[None]:
    """Let an archiver follow the primary meanwhile."""
    log: Path = protected.root / "archiver.log"
    with log.open("wb") as output:
        archiver = subprocess.Popen(protected.command("archive", "--follow"), stdout=output, stderr=output)
        time.sleep(5)  # until it has caught up
        try:
            yield
        finally:
            archiver.send_signal(signal.SIGTERM)
            archiver.wait(60)
