"""What idle clusters cost Airflow's scheduler and DAG processor: ``python -m bench.scheduler_load [clusters…]``.

For each number of clusters (1, 100, 1000): Airflow with LocalExecutor and a PostgreSQL of its own, all DAGs read and
scheduled but none due; then a minute of CPU time. Prints a table, then the same as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.dag_parse import REPO, cluster_section
from tests.support.airflow_stack import AirflowStack
from tests.support.postgres import PostgresServer
from tests.support.processes import pids, session_of

_WATCHED = ("scheduler", "dag-processor")
_PATIENCE_S = 900.0
#: the 29th of February: the first interval after the DAGs' start date ends in 2028
_NOT_YET = "0 3 29 2 *"
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(clusters: int, *, seconds: float) -> dict[str, Any]:
    """Return seconds until all DAGs were there, and each process's share of one core after that."""
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        database = PostgresServer.start()
        cleanup.callback(database.stop)
        sections = {f"c{n}": {**cluster_section(n), "schedule": _NOT_YET} for n in range(clusters)}
        (root / "clusters.yaml").write_text(json.dumps({"clusters": sections}))
        (root / "logs").mkdir()
        stack = AirflowStack(
            root / "airflow",
            dags=REPO / "dags",
            logs=root / "logs",
            database=database.url,
            env={"RESTORE_REPLAY_CONFIG": str(root / "clusters.yaml"), "PYTHONPATH": str(REPO)},
        )
        cleanup.callback(stack.sweep)
        cleanup.callback(stack.stop)
        if stack.migrate().wait():
            raise RuntimeError((root / "logs" / "airflow-migrate.log").read_text())
        started = time.monotonic()
        stack.start()
        stack.wait_for("restore_replay_c0", timeout_s=_PATIENCE_S)
        while stack.get("/api/v2/dags?limit=1")["total_entries"] < clusters:
            if time.monotonic() > started + _PATIENCE_S:
                raise RuntimeError(f"not all of {clusters} DAGs are there after {_PATIENCE_S:.0f} s")
            time.sleep(1)
        known_s = time.monotonic() - started
        before = {name: _cpu_s(stack.pid(name)) for name in _WATCHED}
        time.sleep(seconds)
        shares = {name: (_cpu_s(stack.pid(name)) - before[name]) / seconds for name in _WATCHED}
    return {
        "clusters": clusters,
        "seconds": seconds,
        "known_s": round(known_s, 1),
        "load_1m": round(os.getloadavg()[0], 2),
        **{f"{name}_share": round(share, 3) for name, share in shares.items()},
    }


def _cpu_s(session: int) -> float:
    """Return CPU time of a process, its living children and those it has waited for."""
    ticks = 0
    for pid in pids():
        if session_of(pid) == session:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / _TICKS


def main(argv: list[str]) -> int:
    results = [measure(int(number), seconds=60.0) for number in argv or ("1", "100", "1000")]
    names = list(results[0])
    print(*(f"{name:>20}" for name in names))
    for result in results:
        print(*(f"{result[name]:>20}" for name in names))
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
