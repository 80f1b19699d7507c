"""How long Airflow needs for the DAG file, and what that imports: ``python -m bench.dag_parse [clusters] [rounds]``.

Each round is a fresh process. Airflow's own imports come first, as in its DAG processor, which has them loaded. The DAG
processor reads the file for all DAGs, each task for its own. Prints a table, then the same as one line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
#: what a DAG file must not load: drivers, clients, servers' code
FORBIDDEN = ("obstore", "docker", "pymysql", "MySQLdb", "zstandard", "blake3", "slack_sdk", "click", "rich")
LIMIT_S = 0.5
#: clusters for each second of CPU, where that is more
CLUSTERS_A_SECOND = 200

_ROUND = """
import json, sys, time
import airflow.sdk, airflow.triggers.base, airflow.providers.standard.operators.branch
from airflow.sdk import DAG, Asset, BaseHook, BaseOperator, BaseSensorOperator, TaskGroup
try:
    from airflow.sdk import CronDataIntervalTimetable
except ImportError:  # Airflow < 3.2, where the first operator of any DAG loads the other module, too
    import airflow.serialization.serialized_objects, airflow.timetables.interval
import runpy
from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager
before, wall, cpu = set(sys.modules), time.perf_counter(), time.process_time()
found = runpy.run_path(sys.argv[1])
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
new = sorted(set(sys.modules) - before)
again = time.process_time()
with _airflow_parsing_context_manager(dag_id="restore_replay_c0", task_id="published"):
    runpy.run_path(sys.argv[1])
task = time.process_time() - again
dags = sum(isinstance(value, DAG) for value in found.values())
print(json.dumps({"wall_s": wall, "cpu_s": cpu, "task_cpu_s": task, "modules": new, "dags": dags}))
"""


def measure(clusters: int, rounds: int) -> dict[str, Any]:
    """Return medians over *rounds* of parsing ``dags/restore_replay.py`` for so many *clusters*."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "clusters.yaml"
        config.write_text(json.dumps({"clusters": {f"c{n}": cluster_section(n) for n in range(clusters)}}))
        home = {"AIRFLOW_HOME": directory, "RESTORE_REPLAY_CONFIG": str(config), "PYTHONPATH": str(REPO)}
        done = [_round(home) for _ in range(rounds)]
    modules = done[0]["modules"]
    own = [name for name in modules if name.startswith("airflow_restore_replay")]
    return {
        "clusters": clusters,
        "rounds": rounds,
        "dags": done[0]["dags"],
        "wall_s": round(statistics.median(r["wall_s"] for r in done), 3),
        "cpu_s": round(statistics.median(r["cpu_s"] for r in done), 3),
        "task_cpu_s": round(statistics.median(r["task_cpu_s"] for r in done), 3),
        "limit_s": max(LIMIT_S, clusters / CLUSTERS_A_SECOND),
        "modules": len(modules),
        "own_modules": len(own),
        "forbidden": sorted({m.partition(".")[0] for m in modules} & set(FORBIDDEN)),
        "others": sorted({m.partition(".")[0] for m in modules if m not in own} - {"airflow"}),
    }


def _round(environment: dict[str, str]) -> dict[str, Any]:
    argv = [sys.executable, "-c", _ROUND, str(REPO / "dags" / "restore_replay.py")]
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def cluster_section(number: int) -> dict[str, Any]:
    return {
        "primary": {"connection": f"primary_{number}"},
        "repository": {"url": f"s3://backups/c{number}"},
        "notify": {"slack_webhook_conn_id": "chat"},
    }


def main(argv: list[str]) -> int:
    clusters, rounds = (int(value) for value in [*argv, *("20", "5")[len(argv) :]])
    results = [measure(n, rounds) for n in sorted({1, clusters})]
    heads = ("clusters", "wall s", "CPU s", "a task s", "limit s", "modules", "own")
    print(*(f"{head:>8}" for head in heads), " forbidden")
    for r in results:
        figures = ("clusters", "wall_s", "cpu_s", "task_cpu_s", "limit_s", "modules", "own_modules")
        print(*(f"{r[name]:>8}" for name in figures), "", ", ".join(r["forbidden"]) or "none")
    print(json.dumps(results))
    return 0 if all(r["cpu_s"] < r["limit_s"] and not r["forbidden"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
