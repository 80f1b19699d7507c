"""Run the shipped DAG, watch it, and tell what each cycle came to."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from airflow_restore_replay.core.config.cluster import load_clusters
from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus, describe_progress
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Manifest, Outcome, utc_now
from airflow_restore_replay.core.repository.repository import Repository
from demo.screen import CONSOLE, Now, say, task_line
from demo.workspace import Workspace
from tests.support.airflow_stack import AirflowStack

_ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}


@dataclass(frozen=True)
class CycleRun:
    """A finished run of the DAG."""

    cluster: str
    owner: str
    seconds: float


def dag_id(cluster: str) -> str:
    return f"restore_replay_{cluster}"


def open_repository(space: Workspace, cluster: str) -> Repository:
    spec = load_clusters(space.cluster_file)[cluster].repository
    return Repository.open(spec, cluster=cluster, write=False)


def run_cycle(space: Workspace, airflow: AirflowStack, cluster: str) -> CycleRun:
    """Trigger one run of the cluster's DAG and watch it to its end.

    :raises SystemExit: the run failed.
    """
    started = time.monotonic()
    runs = f"/api/v2/dags/{dag_id(cluster)}/dagRuns"
    run_id = airflow.post(runs, {"logical_date": None})["dag_run_id"]
    say(f"  {dag_id(cluster)}, run {run_id}", "dim")
    shown: dict[str, str] = {}
    with Now() as now:
        while True:
            state = airflow.get(f"{runs}/{run_id}")["state"]
            tasks = airflow.get(f"{runs}/{run_id}/taskInstances")["task_instances"]
            _show_ended(tasks, shown)
            if state in ("success", "failed"):
                break
            now.show(_running(space, tasks))
            time.sleep(0.7)
    if state != "success":
        _show_errors(space.root / "airflow" / "logs" / f"dag_id={dag_id(cluster)}" / f"run_id={run_id}")
        sys.exit(f"The run {run_id} failed.")
    return CycleRun(cluster, f"{dag_id(cluster)}/{run_id}", time.monotonic() - started)


def _show_errors(logs: Path) -> None:
    """Print the errors of all task logs of a run."""
    for path in sorted(logs.rglob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if '"level":"error"' in line:
                say(f"  {path.relative_to(logs)}: {line[:2000]}", "red")


def _show_ended(tasks: list[dict[str, Any]], shown: dict[str, str]) -> None:
    ended = [t for t in tasks if t["state"] in _ENDED | {"up_for_retry"}]
    for task in sorted(ended, key=lambda t: t["end_date"] or ""):
        state = str(task["state"])
        if shown.get(task["task_id"]) != state:
            shown[task["task_id"]] = state
            if state not in ("skipped", "upstream_failed"):
                task_line(task["task_id"], state, _elapsed(task))


def _elapsed(task: dict[str, Any]) -> float | None:
    # A deferred task's duration is that of its last part; its node's job is timed in the table.
    if not task["start_date"] or not task["end_date"]:
        return None
    begin, end = (datetime.fromisoformat(task[name]) for name in ("start_date", "end_date"))
    return (end - begin).total_seconds()


def _running(space: Workspace, tasks: list[dict[str, Any]]) -> str:
    """Return the running jobs with their progress; else the tasks that Airflow has in hand."""
    jobs = [f"{job.job}: {describe_progress(job.progress)}" for job in _running_jobs(space.root / "nodes")]
    active = [t["task_id"] for t in tasks if t["state"] in ("running", "deferred", "queued", "scheduled")]
    return "; ".join(jobs) or ", ".join(active)


def _running_jobs(workdir: Path) -> Iterator[JobState]:
    for path in workdir.glob("*/jobs/*.json"):
        try:
            state = decode(path.read_bytes(), JobState)
        except (OSError, msgspec.MsgspecError):  # the node is being destroyed
            continue
        if state.status is JobStatus.RUNNING:
            yield state


def published_by(catalog: Catalog, run: CycleRun) -> Manifest:
    """Return the backup that the run published.

    :raises SystemExit: it published none."""
    found = [m for m in catalog.manifests if m.run == run.owner]
    if not found:
        sys.exit(f"{run.owner} published no backup.")
    return found[-1]


def show_table(space: Workspace, runs: list[CycleRun]) -> None:
    """Print one line per cycle."""
    # At 100 columns every cell is whole.
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("#", "cluster", "base", "verdict", "published", "filled by"):
        table.add_column(name, no_wrap=True)
    for name in ("restore", "replayed", "new / total", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, run in enumerate(runs, 1):
        cells = _row(open_repository(space, run.cluster).catalog(), run)
        style = "bold yellow" if "quarantined" in cells else ""
        table.add_row(str(number), *cells, style=style)
    CONSOLE.print(table)


def _row(catalog: Catalog, run: CycleRun) -> list[str]:
    manifest = published_by(catalog, run)
    against = [v for v in catalog.attempts(run.owner) if v.outcome is Outcome.QUARANTINED]
    base = against[-1].backup_id if against else manifest.base.backup_id
    sizes, notes = manifest.sizes, manifest.notes
    verdict = "quarantined" if against else "proven" if base else "–"
    replayed = notes.get("catch_up", {}).get("transactions")
    return [
        run.cluster,
        _short(base) or "none",
        verdict,
        _short(manifest.backup_id),
        f"{manifest.base.method} seed" if manifest.base.method else "restore",
        human_seconds(notes.get("fill", {}).get("seconds")),
        "?" if replayed is None else f"{replayed:,}",
        f"{sizes.new_bytes / 1e6:.0f} / {sizes.total_bytes / 1e6:.0f} MB",
        human_seconds((utc_now() - manifest.goal_read_at).total_seconds()),
    ]


def _short(backup_id: str) -> str:
    return backup_id[-8:]
