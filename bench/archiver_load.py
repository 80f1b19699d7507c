"""What a primary loses to an archiver that follows it from another host.

Primary and load have one core, the archiver has another one, as if it ran elsewhere. So the row shows what the primary
itself does for it: it reads its binary log again, and sends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import medians
from bench.protected import Protected
from bench.rows import Row
from bench.settings import Bench

_LEAST_RATE = 0.97
_TRANSACTIONS = 10_000
#: short runs, many times: one run's rate varies by more than the bar allows
_TURNS = 7


def load_row(bench: Bench, protected: Protected) -> Row:
    """Return the primary's rate beside an archiver, against its rate alone."""
    rates: dict[str, list[float]] = {"alone": [], "archived": []}
    with _on_core(0, _server(protected)):
        for _ in range(_TURNS):
            rates["alone"].append(protected.write(_TRANSACTIONS))
            protected.call("archive")
            with _following(protected):
                rates["archived"].append(protected.write(_TRANSACTIONS))
    bench.keep("archive/load", rates)
    beside = medians(rates)
    kept = beside["archived"] / beside["alone"]
    return Row("archive/load", beside["archived"], beside["alone"], "tx/s", kept, _LEAST_RATE)


@contextlib.contextmanager
def _following(protected: Protected) -> Iterator[None]:
    """Let an archiver follow the primary meanwhile."""
    log: Path = protected.root / "archiver.log"
    command = protected.command("archive", "--follow")
    with log.open("wb") as output:
        archiver = subprocess.Popen(["taskset", "-c", "1", *command], stdout=output, stderr=output)
        time.sleep(5)  # until it has caught up
        try:
            yield
        finally:
            archiver.send_signal(signal.SIGTERM)
            archiver.wait(60)


def _server(protected: Protected) -> int:
    assert protected.primary.process
    return protected.primary.process.pid


@contextlib.contextmanager
def _on_core(core: int, server: int) -> Iterator[None]:
    """Let this process, what it starts, and the threads of *server* use only one core."""
    before = os.sched_getaffinity(0)

    def move(cores: set[int]) -> None:
        os.sched_setaffinity(0, cores)
        for thread in os.listdir(f"/proc/{server}/task"):
            os.sched_setaffinity(int(thread), cores)

    move({core})
    try:
        yield
    finally:
        move(before)
