"""A primary with sysbench's tables that this package protects by its command line, as people call it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from airflow_restore_replay.core.flavor.registry import get_flavor
from bench.data import sysbench
from bench.nodes import BUFFER_POOL_BYTES
from bench.settings import Bench
from tests.support.primary import BACKUP_PASSWORD, Primary

CLUSTER = "bench"
QUICK = ("--innodb-buffer-pool-size=256M", "--innodb-doublewrite=0", "--max-binlog-size=1G")
_RUN = [sys.executable, "-m", "airflow_restore_replay.cli.main"]


@dataclass(frozen=True)
class Called:
    """A call of the command line.

    :param peak_bytes: most memory of the process; its children's does not count.
    """

    seconds: float
    peak_bytes: int
    answer: Any


class Protected:
    """A primary, its cluster file and its repository.

    :param tables: options of sysbench.
    """

    def __init__(self, bench: Bench, primary: type[Primary], seed: str, tables: tuple[str, ...]) -> None:
        self.bench, self.tables = bench, tables
        self.root = bench.new_dir("protected")
        self.flavor = get_flavor(primary.flavor)
        self.primary = primary.start(self.root / "primary", options=QUICK)
        self.primary.create_backup_account()
        self.primary.execute("CREATE DATABASE sbtest")
        self._config = self.root / "clusters.yaml"
        password = self.root / "password"
        password.write_text(BACKUP_PASSWORD)
        password.chmod(0o600)
        node: dict[str, Any] = {"workdir": str(self.root / "nodes"), "buffer_pool": BUFFER_POOL_BYTES}
        if self.primary.bindir:
            node["bindir"] = self.primary.bindir
        cluster = {
            "flavor": primary.flavor,
            "primary": {"host": "127.0.0.1", "port": self.primary.port, "password_file": str(password)},
            "repository": {"url": (self.root / "repository").as_uri()},
            "node": node,
            "seed": {"method": seed},
        }
        self._config.write_text(yaml.safe_dump({"clusters": {CLUSTER: cluster}}))
        sysbench(self.primary, "oltp_write_only", *tables, "--threads=2", "prepare")

    def write(self, transactions: int) -> float:
        """Write that many of sysbench's transactions; return how many a second."""
        begun = time.monotonic()
        events = ("--threads=4", f"--events={transactions}", "--time=0")
        sysbench(self.primary, "oltp_write_only", *self.tables, *events, "run")
        return transactions / (time.monotonic() - begun)

    def position(self) -> Any:
        with self.primary.connect() as conn:
            return self.flavor.primary_position(conn)

    def binlog_bytes(self) -> int:
        return sum(int(row[1]) for row in self.primary.execute("SHOW BINARY LOGS"))

    def command(self, *arguments: str | Path) -> list[str]:
        return [*_RUN, *map(str, arguments), "--config", str(self._config), "--cluster", CLUSTER]

    def call(self, *arguments: str | Path) -> Called:
        """Call the command line with ``--json``; its start of Python counts, as that of the peers does."""
        self.bench.caches.drop()
        begun = time.monotonic()
        with subprocess.Popen([*self.command(*arguments), "--json"], stdout=subprocess.PIPE) as process:
            assert process.stdout
            answer = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{arguments} ended with {process.returncode}: {answer[-2000:]!r}")
        peak_bytes = used.ru_maxrss * 1024
        return Called(time.monotonic() - begun, peak_bytes, msgspec.json.decode(answer))

    def stop(self) -> None:
        self.primary.stop()
        self.bench.discard(self.root)
