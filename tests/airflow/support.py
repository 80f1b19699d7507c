"""Runs the shipped DAG as ``dag.test()`` does: real tasks, in this process, on the real metadata database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import yaml

from tests.support.rig import Rig

DAGS = Path(__file__).parents[2] / "dags"
EXAMPLES = DAGS.parent / "docs" / "examples"


@dataclass(frozen=True)
class Ran:
    """A finished run.

    :param states: task id → state. :param tries: task id → how often it ran.
    :param mapped: ``task_id[name in the grid]`` → state, of mapped tasks.
    :param failures: task ids whose failure callback was called, in order. :param errors: what it was told.
    """

    run_id: str
    state: str
    states: dict[str, str]
    tries: dict[str, int]
    failures: list[str]
    results: dict[str, Any]
    errors: dict[str, str]
    mapped: dict[str, str] = field(default_factory=dict)

    def of(self, state: str) -> set[str]:
        return {task_id for task_id, found in self.states.items() if found == state}


@dataclass
class Shipped:
    """The DAG that ``dags/restore_replay.py`` builds for the cluster ``orders``."""

    rig: Rig
    failures: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    runs: list[Ran] = field(default_factory=list)

    @property
    def cluster_file(self) -> Path:
        return self.rig.root / "clusters.yaml"

    def configure(self, **section: Any) -> None:
        """Write the cluster file, with *section*'s keys for the cluster."""
        cluster = {**self.rig.section(**section), "primary": {"connection": "orders_primary"}}
        self.cluster_file.write_text(yaml.safe_dump({"clusters": {"orders": cluster}}))

    def run(self, *, deferrable: bool = False, **params: Any) -> Ran:
        """Run the shipped DAG once."""
        dag = shipped_dag()
        for task in dag.tasks:
            if hasattr(task, "deferrable"):
                task.deferrable = deferrable
        return self.run_dag(dag, **params)

    def backfill(self, begin: datetime, end: datetime, *options: str) -> list[Ran]:
        """Create a backfill of the intervals that begin in that time, by Airflow's command, and run its runs one
        after the other.
        """
        dag = shipped_dag()
        _sync(DAGS)
        runs = _create_backfill(dag.dag_id, begin, end, options)
        return [self.run_dag(dag, existing_run=run_id) for run_id in runs]

    def run_dag(
        self,
        dag: Any,
        *,
        existing_run: str | None = None,
        when: dict[str, Any] | None = None,
        **params: Any,
    ) -> Ran:
        """Run any DAG once, with short pauses between retries.

        :param existing_run: run id of a run that Airflow has created; else a new manual run.
        :param when: ``logical_date`` or ``run_after`` of the run.
        """
        self.failures, self.errors = [], {}
        for task in dag.tasks:
            task.on_failure_callback = [*(task.on_failure_callback or ()), self._note_failure]
            task.retry_delay = timedelta(seconds=1)
            task.retry_exponential_backoff = False
        with _instead_of_a_new_run(existing_run), _run_callbacks_as_the_dag_processor():
            run = dag.test(run_conf=params or None, **(when or {}))
        states = {ti.task_id: str(ti.state or "none") for ti in run.get_task_instances()}
        tries = {ti.task_id: ti.try_number for ti in run.get_task_instances()}
        results = {task_id: _xcom(dag.dag_id, run.run_id, task_id) for task_id in states}
        mapped = {
            f"{ti.task_id}[{ti.rendered_map_index or ti.map_index}]": str(ti.state or "none")
            for ti in run.get_task_instances()
            if ti.map_index >= 0
        }
        self.runs.append(
            Ran(run.run_id, str(run.state), states, tries, self.failures, results, self.errors, mapped)
        )
        return self.runs[-1]

    def _note_failure(self, context: Any) -> None:
        self.failures.append(context["ti"].task_id)
        self.errors[context["ti"].task_id] = str(context.get("exception", ""))


def shipped_dag(dag_id: str = "restore_replay_orders") -> Any:
    """Return the DAG, parsed from the shipped file as Airflow does."""
    bag = dag_bag()
    assert bag.import_errors == {}
    return bag.dags[dag_id]


def dag_bag(folder: Path = DAGS) -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow < 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

    return DagBag(dag_folder=str(folder), collect_dags=True)


@contextmanager
def _instead_of_a_new_run(run_id: str | None) -> Iterator[None]:
    """Let ``dag.test()`` execute a run that exists already, as the scheduler would."""
    if run_id is None:
        yield
        return
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    def existing(*, dag: Any, session: Any, **_: Any) -> Any:
        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.run_id == run_id))
        run.dag = dag
        run.verify_integrity(session=session, dag_version_id=run.created_dag_version_id)
        run.state = DagRunState.RUNNING
        session.commit()
        return run

    with mock.patch("airflow.models.dagrun.get_or_create_dagrun", existing):
        yield


@contextmanager
def _run_callbacks_as_the_dag_processor() -> Iterator[None]:
    """Let the callbacks of a run ask Airflow, as in the DAG processor; in ``dag.test()`` they cannot."""
    import os
    import uuid
    from importlib import import_module

    import structlog
    from airflow.models.dagrun import DagRun
    from airflow.sdk.execution_time import supervisor as supervisors

    name = "execute_dag_callbacks" if hasattr(DagRun, "execute_dag_callbacks") else "handle_dag_callback"
    original = getattr(DagRun, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        kind = supervisors.InProcessTestSupervisor
        supervisor = kind(
            id=uuid.uuid4(),
            pid=os.getpid(),
            process=import_module("psutil").Process(),
            process_log=structlog.get_logger(logger_name="task"),
            client=kind._api_client(),
        )
        supervisor.comms = supervisors.InProcessSupervisorComms(supervisor=supervisor)
        with supervisors.set_supervisor_comms(supervisor.comms):
            return original(self, *args, **kwargs)

    with mock.patch.object(DagRun, name, call):
        yield


def _sync(folder: Path) -> None:
    """Do what the DAG processor does: store the DAGs of the bundle that has *folder*."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    for bundle in manager.get_all_dag_bundles():
        bundle.initialize()
        if bundle.path == folder:
            bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=bundle.name)
            sync_bag_to_db(bag, bundle.name, None)


def _create_backfill(dag_id: str, begin: datetime, end: datetime, options: tuple[str, ...]) -> list[str]:
    """Return ids of the runs that ``airflow backfill create`` made, in their order."""
    from airflow.cli.cli_parser import get_parser
    from airflow.models.backfill import Backfill, BackfillDagRun
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    words = ["backfill", "create", "--dag-id", dag_id, "--from-date", begin.isoformat()]
    args = get_parser().parse_args([*words, "--to-date", end.isoformat(), *options])
    args.func(args)
    with create_session() as session:
        newest = session.scalars(select(Backfill).order_by(Backfill.id.desc())).first()
        assert newest is not None
        newest.completed_at = datetime.now(
            UTC
        )  # the scheduler's part: otherwise there could be no second one
        query = select(DagRun.run_id).join(BackfillDagRun, BackfillDagRun.dag_run_id == DagRun.id)
        made = query.where(BackfillDagRun.backfill_id == newest.id).order_by(BackfillDagRun.sort_ordinal)
        return list(session.scalars(made))


def _xcom(dag_id: str, run_id: str, task_id: str) -> Any:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.scalars(
            XComModel.get_many(run_id=run_id, dag_ids=dag_id, task_ids=task_id, key="return_value")
        ).all()
        return XComModel.deserialize_value(found[0]) if found else None


def asset_events(run_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return names and extras of the asset events of a run."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(AssetModel.name, AssetEvent.extra).join(
            AssetEvent, AssetEvent.asset_id == AssetModel.id
        )
        return [
            (name, extra) for name, extra in session.execute(query.where(AssetEvent.source_run_id == run_id))
        ]


def context_of(task: Any, *, run_id: str = "a_run", try_number: int = 1, max_tries: int | None = None) -> Any:
    """Return the part of a task's context that the operators read."""
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(
        dag_id="a_dag",
        run_id=run_id,
        task_id=task.task_id,
        map_index=-1,
        try_number=try_number,
        max_tries=task.retries if max_tries is None else max_tries,
        task=task,
        xcom_push=lambda key, value: pushed.__setitem__(key, value),
        pushed=pushed,
    )
    return {"ti": ti, "dag_run": SimpleNamespace(run_id=run_id, run_type="manual"), "params": {}}
