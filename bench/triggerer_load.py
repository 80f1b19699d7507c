"""How long the job watches of many replay nodes keep one triggerer's event loop from everything else.

``python -m bench.triggerer_load [--nodes 1,10,50,200] [--seconds 20] [--json FILE]``

Nodes, state files and the job's process are real, and :class:`JobTrigger` is what the triggerer runs; only the job
itself does nothing. The lag is how much later than asked a 10 ms sleep in the same loop ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.agent.state_file import StateFile
from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.decoding import plain
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import (
    JobName,
    JobState,
    JobStatus,
    NodeRequest,
    Progress,
    RunNode,
    RunRef,
)
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.runtime.opening import get_runtime
from airflow_restore_replay.core.system.processes import identify

_SLEEP_S = 0.01


@dataclass(frozen=True)
class Measured:
    """Result of one measurement.

    :param completed: watches that noticed their job's end.
    :param cpu_share: share of one core that the whole process used."""

    nodes: int
    completed: int
    seconds: float
    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    cpu_share: float
    noticed_max_s: float


def measure(nodes: int, seconds: float) -> Measured:
    """Watch *nodes* jobs for *seconds*, then let all of them end."""
    with tempfile.TemporaryDirectory() as root:
        job = subprocess.Popen(["sleep", "infinity"])
        try:
            return asyncio.run(_measure(_Nodes(Path(root), nodes, job.pid), seconds))
        finally:
            job.kill()
            job.wait()


class _Nodes:
    def __init__(self, root: Path, count: int, pid: int) -> None:
        section = {
            "primary": {"host": "127.0.0.1", "user": "nobody"},
            "repository": {"url": f"file://{root}/repository"},
            "node": {"workdir": str(root / "nodes")},
        }
        self.cluster: Cluster = parse_clusters({"clusters": {"orders": section}})["orders"]
        self._pid = pid
        self.made = [self._make(f"orders-{number:04d}") for number in range(count)]
        self.set(JobStatus.RUNNING)

    def _make(self, node_id: str) -> dict[str, Any]:
        run = RunRef(run=f"bench/{node_id}", attempt="replay", lease_epoch=1)
        request = NodeRequest(node_id=node_id, run=run, cluster=self.cluster)
        handle = get_runtime(self.cluster).create(request)
        node: dict[str, Any] = plain(RunNode(**msgspec.structs.asdict(handle), run=run))
        return node

    def set(self, status: JobStatus) -> None:
        """Write every node's state file as its agent does."""
        for node in self.made:
            key = str(node["node_id"])
            state = JobState(
                key=key,
                job=JobName.RESTORE,
                status=status,
                process=identify(self._pid),
                started_at=utc_now(),
                progress=Progress(phase="restoring", done=10**9, total=10**10, rate_per_s=10**8, eta_s=90.0),
            )
            StateFile(NodeDir(Path(node["workdir"]) / key), key).write(state)


async def _measure(nodes: _Nodes, seconds: float) -> Measured:
    from airflow_restore_replay.triggers.job import JobTrigger

    async def watch(node: dict[str, Any]) -> float:
        trigger = JobTrigger(cluster=plain(nodes.cluster), node=node, key=str(node["node_id"]))
        async for event in trigger.run():
            assert event.payload["status"] == "ended", event.payload
        return time.monotonic()

    watches = [asyncio.create_task(watch(node)) for node in nodes.made]
    await asyncio.sleep(0.5)  # imports
    cpu_s, started = time.process_time(), time.monotonic()
    lags = await _lags(seconds)
    cpu_share = (time.process_time() - cpu_s) / (time.monotonic() - started)
    ended = time.monotonic()
    nodes.set(JobStatus.SUCCEEDED)
    noticed = [at for at in await asyncio.gather(*watches, return_exceptions=True) if isinstance(at, float)]
    return Measured(
        nodes=len(nodes.made),
        completed=len(noticed),
        seconds=seconds,
        lag_p50_ms=round(1000 * statistics.median(lags), 2),
        lag_p99_ms=round(1000 * sorted(lags)[int(len(lags) * 0.99)], 2),
        lag_max_ms=round(1000 * max(lags), 2),
        cpu_share=round(cpu_share, 3),
        noticed_max_s=round(max(noticed, default=ended) - ended, 2),
    )


async def _lags(seconds: float) -> list[float]:
    lags: list[float] = []
    until = time.monotonic() + seconds
    while (before := time.monotonic()) < until:
        await asyncio.sleep(_SLEEP_S)
        lags.append(time.monotonic() - before - _SLEEP_S)
    return lags


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", default="1,10,50,200")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, suppress(KeyboardInterrupt):
        os.environ["AIRFLOW_HOME"] = home
        measured = [measure(int(count), options.seconds) for count in options.nodes.split(",")]
    columns = list(asdict(measured[0]))
    print("  ".join(f"{name:>13}" for name in columns))
    for one in measured:
        print("  ".join(f"{value:>13}" for value in asdict(one).values()))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measured], indent=1) + "\n")


if __name__ == "__main__":
    main()
