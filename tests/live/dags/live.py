"""The shipped DAG once per case of the live tests; every callback leaves a note beside the case."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from airflow.sdk import DAG, get_parsing_context

from airflow_restore_replay.core.config.cluster import load_clusters
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.dag import build_restore_replay_dag

ROOT = Path(os.environ["RESTORE_REPLAY_LIVE"])


def noting(kind: str, folder: Path) -> Callable[[Any], None]:
    """Return a callback that appends what it was called for to the case's notes."""

    def note(context: Any) -> None:
        run = context["dag_run"]
        line = {"kind": kind, "run_id": run.run_id}
        if kind in ("task", "quarantine"):
            line["task_id"] = context["ti"].task_id
        with (folder / "callbacks.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    return note


@dataclass(frozen=True)
class Elsewhere:
    """Return the node as if it lived on a host that has become unreachable."""

    node: Any

    def resolve(self, context: Any) -> Any:
        return {**self.node.resolve(context), "host": "a-host-that-is-gone"}

    def serialize(self) -> str:
        return "a node elsewhere"


def spoil(dag: DAG, task_id: str) -> None:
    """Make a task fail."""
    task: Any = dag.get_task(task_id)
    if task_id.endswith("destroy_node"):
        task.node = Elsewhere(task.node)
    else:
        task.cluster = msgspec.structs.replace(task.cluster, repository=RepositorySpec(url="file:///nowhere"))


def build(folder: Path) -> DAG:
    case = json.loads((folder / "case.json").read_text())
    dag = build_restore_replay_dag(
        load_clusters(folder / "clusters.yaml")["orders"],
        dag_id=folder.name,
        deferrable=case["deferrable"],
        on_failure_callback=noting("task", folder),
        on_run_failure_callback=noting("run failed", folder),
        on_run_success_callback=noting("run succeeded", folder),
        on_quarantine=noting("quarantine", folder),
        default_args={
            "retries": case["retries"],
            "retry_delay": timedelta(seconds=1),
            "retry_exponential_backoff": False,
        },
    )
    dag.max_active_runs = case["max_active_runs"]
    if case.get("end_date"):
        dag.end_date = datetime.fromisoformat(case["end_date"])
    acquire: Any = dag.get_task("acquire_lease")
    acquire.poll_interval_s = 8.0
    for task_id, queue in case["queues"].items():
        dag.get_task(task_id).queue = queue
    if case["spoilt"]:
        spoil(dag, case["spoilt"])
    return dag


# A task's process, which is known by this context, needs its own DAG only.
wanted = get_parsing_context().dag_id or "*"
for path in sorted(ROOT.glob(f"{wanted}/case.json")):
    globals()[path.parent.name] = build(path.parent)
