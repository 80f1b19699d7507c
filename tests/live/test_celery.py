"""Scale out on what Airflow has: Celery's workers share a cycle whose node is a container, and may die during it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus
from tests.contract.runtime.kits import DockerKit
from tests.live.conftest import DAGS, IMPATIENT, REPO, primary_connection
from tests.live.support import TASKS, Case, until
from tests.support.airflow_stack import AirflowStack
from tests.support.flavors import KITS
from tests.support.postgres import PostgresServer
from tests.support.primary import Primary
from tests.support.redis import RedisServer
from tests.support.rig import Rig
from tests.support.stores.s3 import CREDENTIALS

LEFT, RIGHT = WORKERS = ("worker-left", "worker-right")
SETTINGS = {
    **IMPATIENT,
    "CORE__EXECUTOR": "CeleryExecutor",
    # Each worker has a name of its own here, as on hosts of their own.
    "CORE__HOSTNAME_CALLABLE": "tests.support.airflow_stack.process_name",
    "CELERY__WORKER_CONCURRENCY": "3",
    # What a dead worker had taken from the broker and not begun.
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
}


class Celery:
    """Two workers, a node's engine, and a seeded repository in an object store."""

    def __init__(self, root: Path, stack: AirflowStack, kit: DockerKit, primary: Primary) -> None:
        self.stack = stack
        self.kit = kit
        self._root = root
        self._seeded = Rig(primary, root / "seeded", kit.section(), store=kit.store)
        self._seeded.full()
        self.cases = {
            "shared": self._case("shared", queues=dict(zip(_SHARED, (LEFT, RIGHT, LEFT), strict=True))),
            **{
                name: self._case(name, deferrable=False, retries=3, transfer=_SLOW)
                for name in ("its_own_killed", "the_other_killed")
            },
        }

    def _case(self, name: str, **options: object) -> Case:
        section = self.kit.section()
        rig = Rig(self._seeded.primary, self._root / "cases" / name, section, store=self.kit.store)
        self.kit.copy_repository(self._seeded, rig)
        case = Case(name, rig, self.stack)
        repository = {**section["repository"], "connection": "backups"}
        return case.configure(repository=repository, **options)  # type: ignore[arg-type]

    def job(self, name: str) -> JobState | None:
        """Return that job of the only node."""
        return next((job for job in self.kit.jobs() if job.job == name), None)


_SHARED = (TASKS["restore"], TASKS["catch_up"], TASKS["snapshot"])
_SLOW = {"rate_limit": "400KB", "threads": 1}


def _worker(name: str) -> list[str]:
    # The executor's own queue, and one that only this worker has.
    queues = f"default,{name}"
    return ["celery", "worker", "--skip-serve-logs", "--celery-hostname", f"{name}@here", "--queues", queues]


@pytest.fixture(scope="module")
def celery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Celery]:
    root = tmp_path_factory.mktemp("celery")
    (root / "logs").mkdir()
    with ExitStack() as stack:
        database = PostgresServer.with_airflow()
        stack.callback(database.stop)
        broker = RedisServer()
        stack.callback(broker.stop)
        kit = DockerKit()
        stack.enter_context(kit.running(root))
        primary = KITS["mariadb"].start(root / "primary")
        stack.callback(primary.discard)
        backend = database.url.replace("postgresql", "db+postgresql", 1)
        airflow = AirflowStack(
            root / "airflow",
            dags=DAGS,
            logs=root / "logs",
            database=database.url,
            settings={**SETTINGS, "CELERY__BROKER_URL": broker.url, "CELERY__RESULT_BACKEND": backend},
            env={"RESTORE_REPLAY_LIVE": str(root / "cases"), "PYTHONPATH": str(REPO)},
            workers={name: _worker(name) for name in WORKERS},
        )
        stack.callback(airflow.sweep)
        stack.callback(airflow.stop)
        airflow.add_connection("orders_primary", primary_connection(primary))
        store = {"login": CREDENTIALS["access_key_id"], "password": CREDENTIALS["secret_access_key"]}
        airflow.add_connection("backups", json.dumps({"conn_type": "restore_replay_repository", **store}))
        running = Celery(root, airflow, kit, primary)
        airflow.start()
        airflow.wait_for(*running.cases, timeout_s=600.0)
        yield running


def test_restore_sensor_and_snapshot_on_different_workers(celery: Celery) -> None:
    case = celery.cases["shared"]
    ended = case.wait(case.trigger())
    assert ended.state == "success", ended.of("failed")
    assert tuple(ended.tasks[task]["hostname"] for task in _SHARED) == (LEFT, RIGHT, LEFT)
    assert celery.kit.left(case.rig) == []


@pytest.mark.sweep(
    guards="a cycle survives the death of its Celery worker, and does not notice that of another"
)
@pytest.mark.parametrize("victim", ["its_own_killed", "the_other_killed"])
def test_a_worker_is_killed_mid_restore(celery: Celery, victim: str) -> None:
    """The worker that waits for the restore, or the one that does not: the job is neither's, and nothing is redone."""
    case, task = celery.cases[victim], TASKS["restore"]
    run_id = case.trigger()
    begun = until(
        "bytes of the restore", lambda: (job := celery.job("restore")) and job.progress.done and job
    )
    waits = until("the task's worker", lambda: case.tasks(run_id)[task]["hostname"])
    dies = waits if victim == "its_own_killed" else next(name for name in WORKERS if name != waits)
    assert celery.stack.kill_session(dies) > 1
    # The same process continues, whichever worker asks for it.
    restored = until("the end of the job", lambda: (job := celery.job("restore")) and _ended(job) and job)
    assert (restored.status, restored.process, restored.attempt_no) == (JobStatus.SUCCEEDED, begun.process, 1)
    ended = case.wait(run_id)
    assert ended.state == "success", ended.of("failed")
    assert ended.tasks[task]["try_number"] == (2 if dies == waits else 1)
    survivor = next(name for name in WORKERS if name != dies)
    assert ended.tasks[TASKS["snapshot"]]["hostname"] == survivor
    assert case.rig.verdicts_against() == []
    assert celery.kit.left(case.rig) == []
    celery.stack.start()


def _ended(job: JobState) -> bool:
    return job.status is not JobStatus.RUNNING
