"""Cases of the live tests: a cluster with a DAG of its own under the one scheduler, and what becomes of its runs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus
from tests.support.airflow_stack import AirflowStack
from tests.support.rig import Rig

WAITING = ("running", "deferred")
_ENDED = ("success", "failed")

#: long enough for a machine that runs other tests beside these
PATIENCE_S = 240.0


def until(what: str, true: Callable[[], Any], *, timeout_s: float = PATIENCE_S, pause_s: float = 0.7) -> Any:
    """Wait.

    :returns: the first true value.
    :raises AssertionError: none came in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with suppress(OSError):  # the API server may be away for a while
            if found := true():
                return found
        time.sleep(pause_s)
    raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what}")


@dataclass(frozen=True)
class Ended:
    """A finished run.

    :param tasks: task id → Airflow's task instance. :param notes: what the callbacks were called for, how often.
    """

    run_id: str
    state: str
    tasks: dict[str, dict[str, Any]]
    notes: Counter[str]

    def of(self, state: str) -> set[str]:
        return {task_id for task_id, ti in self.tasks.items() if ti["state"] == state}


@dataclass(eq=False)
class Case:
    """One DAG of the live tests and its cluster.

    :param name: name of its DAG.
    :param rig: its repository and nodes.
    :param end_date: after which nothing is scheduled.
    """

    name: str
    rig: Rig
    stack: AirflowStack
    deferrable: bool = True
    end_date: datetime | None = None

    def configure(
        self,
        *,
        deferrable: bool = True,
        retries: int = 2,
        spoilt: str = "",
        max_active_runs: int = 1,
        end_date: datetime | None = None,
        queues: dict[str, str] | None = None,
        **section: Any,
    ) -> Case:
        """Write its cluster file and how its DAG differs from the shipped one.

        :param spoilt: id of a task that fails. :param end_date: after which nothing is scheduled.
        :param queues: task id → the executor's queue that it goes to.
        """
        self.deferrable, self.end_date = deferrable, end_date
        cluster = {**self.rig.section(**section), "schedule": section.get("schedule")}
        if "primary" not in section:
            cluster["primary"] = {"connection": "orders_primary"}
        self.rig.root.mkdir(parents=True, exist_ok=True)
        (self.rig.root / "clusters.yaml").write_text(yaml.safe_dump({"clusters": {"orders": cluster}}))
        case = {
            "deferrable": deferrable,
            "retries": retries,
            "spoilt": spoilt,
            "max_active_runs": max_active_runs,
            "end_date": end_date.isoformat() if end_date else None,
            "queues": queues or {},
        }
        (self.rig.root / "case.json").write_text(json.dumps(case))
        return self

    @property
    def _path(self) -> str:
        return f"/api/v2/dags/{self.name}"

    def trigger(self, **conf: Any) -> str:
        """Return id of a new manual run, which has no logical date."""
        run = self.stack.post(f"{self._path}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def runs(self) -> list[str]:
        """Return ids of all runs, by the time for which they run."""
        found = self.stack.get(f"{self._path}/dagRuns?limit=100")["dag_runs"]
        return [run["dag_run_id"] for run in sorted(found, key=lambda run: str(run["logical_date"]))]

    def state(self, run_id: str) -> str:
        return str(self.stack.get(f"{self._path}/dagRuns/{run_id}")["state"])

    def tasks(self, run_id: str) -> dict[str, dict[str, Any]]:
        found = self.stack.get(f"{self._path}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {ti["task_id"]: ti for ti in found}

    def mark_failed(self, run_id: str, task_id: str) -> None:
        """What the button in the UI does."""
        self.stack.patch(f"{self._path}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": "failed"})

    def clear(self, run_id: str, *task_ids: str, downstream: bool = False) -> None:
        """Clear tasks, or without any the whole run."""
        if not task_ids:
            self.stack.post(f"{self._path}/dagRuns/{run_id}/clear", {"dry_run": False, "only_failed": False})
            return
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "include_downstream": downstream,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.stack.post(f"{self._path}/clearTaskInstances", body)

    def result(self, run_id: str, task_id: str) -> Any:
        """Return what the task returned."""
        entry = f"taskInstances/{task_id}/xcomEntries/return_value"
        value = self.stack.get(f"{self._path}/dagRuns/{run_id}/{entry}")["value"]
        return json.loads(value) if isinstance(value, str) else value

    def log(self, run_id: str, task_id: str) -> str:
        """Return the task's logs of all tries."""
        folder = self.stack.home / "logs" / f"dag_id={self.name}" / f"run_id={run_id}" / f"task_id={task_id}"
        return "\n".join(p.read_text(errors="replace") for p in sorted(folder.rglob("*.log")))

    def wait(self, run_id: str, *, callbacks: bool = True) -> Ended:
        """Wait for the run's end, and for the run's own callback."""
        until(f"the end of {self.name}/{run_id}", lambda: self.state(run_id) in _ENDED)
        if callbacks:
            until(
                f"the callback of {self.name}/{run_id}",
                lambda: any(n.startswith("run ") for n in self.notes(run_id)),
            )
        return Ended(run_id, self.state(run_id), self.tasks(run_id), self.notes(run_id))

    def notes(self, run_id: str) -> Counter[str]:
        path = self.rig.root / "callbacks.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        mine = [n for n in lines if n["run_id"] == run_id]
        return Counter(" ".join(filter(None, (n["kind"], n.get("task_id")))) for n in mine)

    def jobs(self) -> list[JobState]:
        """Return all jobs of all nodes, as their state files have them."""
        found = []
        for path in self.rig.workdir.glob("*/jobs/*.json"):
            with suppress(OSError):  # the node is being destroyed
                found.append(msgspec.json.decode(path.read_bytes(), type=JobState))
        return found

    def running_job(self, name: str) -> JobState | None:
        return next((j for j in self.jobs() if j.job == name and j.status is JobStatus.RUNNING), None)

    def servers(self) -> list[str]:
        """Return command lines of the database servers on its nodes."""
        from tests.support.rig import processes_in

        return [line for line in processes_in(self.rig.workdir) if line.split()[0].endswith("mariadbd")]


@dataclass(frozen=True)
class Held:
    """A case whose job is stopped during its work, so that everything around it can fail meanwhile."""

    case: Case
    run_id: str
    task_id: str
    job: JobState

    @property
    def ti(self) -> dict[str, Any]:
        return self.case.tasks(self.run_id)[self.task_id]

    @property
    def waits(self) -> bool:
        """Return whether the task has reached the state in which it waits for its job."""
        return bool(self.ti["state"] == ("deferred" if self.case.deferrable else "running"))

    def assert_untouched(self) -> None:
        """Assert that the same process continues: nothing was started again."""
        now = self.case.running_job(self.job.job)
        assert now is not None, (
            f"{self.case.name}: job {self.job.job} does not run any more: {self.case.jobs()}"
        )
        assert (now.process, now.attempt_no) == (self.job.process, 1), self.case.name
        assert len(self.case.servers()) <= 1, "a second server"


#: job → its task in the shipped DAG
TASKS = {
    "restore": "replay.restore_backup",
    "catch_up": "replay.catch_up",
    "validate": "replay.validate",
    "snapshot": "replay.snapshot",
}


def _at_work(job: JobState | None) -> bool:
    # A restore counts once it has bytes to lose.
    return job is not None and (job.job != "restore" or job.progress.done > 0)


@contextmanager
def holding(wanted: Iterable[tuple[Case, str, str]]) -> Iterator[list[Held]]:
    """Stop a job of each case as soon as it runs; they continue when the context ends.

    :param wanted: case, its run, and the job's name.
    """
    left, held = list(wanted), []
    try:
        deadline = time.monotonic() + PATIENCE_S
        while left:
            assert time.monotonic() < deadline, f"never ran: {[(c.name, job) for c, _, job in left]}"
            for case, run_id, name in left:
                job = case.running_job(name)
                if job is not None and _at_work(job):
                    os.kill(job.process.pid, signal.SIGSTOP)
                    held.append(Held(case, run_id, TASKS[name], job))
            left = [w for w in left if w[0] not in [h.case for h in held]]
            time.sleep(0.02)
        for one in held:  # the worker may not yet have said that it waits, or that it defers
            until(f"{one.case.name} to wait", lambda one=one: one.waits)  # type: ignore[misc]
        yield held
    finally:
        for one in held:
            with suppress(ProcessLookupError):
                os.kill(one.job.process.pid, signal.SIGCONT)


def new_case(stack: AirflowStack, rig: Rig, root: Path, name: str) -> Case:
    """Return a case on *rig*'s primary, with a repository of its own."""
    return Case(name, Rig(rig.primary, root / name), stack)
