"""Runs the shipped DAG as ``dag.test()`` does: real tasks, in this process, on the real metadata database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.rig import Rig

DAGS = Path(__file__).parents[2] / "dags"


@dataclass(frozen=True)
class Ran:
    """A finished run.

    :param states: task id → state. :param tries: task id → how often it ran.
    :param failures: task ids whose failure callback was called, in order.
    """

    run_id: str
    state: str
    states: dict[str, str]
    tries: dict[str, int]
    failures: list[str]
    results: dict[str, Any]

    def of(self, state: str) -> set[str]:
        return {task_id for task_id, found in self.states.items() if found == state}


@dataclass
class Shipped:
    """The DAG that ``dags/restore_replay.py`` builds for the cluster ``orders``."""

    rig: Rig
    failures: list[str] = field(default_factory=list)
    runs: list[Ran] = field(default_factory=list)

    def run(self, *, deferrable: bool = False, **params: Any) -> Ran:
        """Run the DAG once, with short pauses between retries."""
        dag = shipped_dag()
        self.failures = []
        for task in dag.tasks:
            task.on_failure_callback = [self._note_failure]
            task.retry_delay = timedelta(seconds=1)
            task.retry_exponential_backoff = False
            if hasattr(task, "deferrable"):
                task.deferrable = deferrable
        run = dag.test(run_conf=params or None)
        states = {ti.task_id: str(ti.state or "none") for ti in run.get_task_instances()}
        tries = {ti.task_id: ti.try_number for ti in run.get_task_instances()}
        results = {task_id: _xcom(dag.dag_id, run.run_id, task_id) for task_id in states}
        self.runs.append(Ran(run.run_id, str(run.state), states, tries, list(self.failures), results))
        return self.runs[-1]

    def _note_failure(self, context: Any) -> None:
        self.failures.append(context["ti"].task_id)


def shipped_dag(dag_id: str = "restore_replay_orders") -> Any:
    """:returns: the DAG, parsed from the shipped file as Airflow does."""
    bag = dag_bag()
    assert bag.import_errors == {}
    return bag.dags[dag_id]


def dag_bag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(DAGS), collect_dags=True)


def _xcom(dag_id: str, run_id: str, task_id: str) -> Any:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.scalars(
            XComModel.get_many(run_id=run_id, dag_ids=dag_id, task_ids=task_id, key="return_value")
        ).all()
        return XComModel.deserialize_value(found[0]) if found else None
