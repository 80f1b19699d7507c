"""Airflow as operators run it, once for each module of these tests, on a PostgreSQL of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.runtime.nodes import reap
from airflow_restore_replay.core.runtime.process import ProcessRuntime
from tests.live.support import Case, new_case
from tests.support.airflow_stack import AirflowStack
from tests.support.flavors import KITS
from tests.support.postgres import PostgresServer
from tests.support.primary import BACKUP_PASSWORD, Primary
from tests.support.rig import Rig, copy_repository
from tests.support.seeding import seeded_copy

DAGS = Path(__file__).parent / "dags"
REPO = DAGS.parents[2]

#: deaths are noticed within half a minute, where Airflow's defaults wait for minutes. No sooner: on a busy machine a
#: scheduler that lives would be taken for dead, and its tasks be started twice.
IMPATIENT = {
    "CORE__PARALLELISM": "6",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "30",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # A callback that comes while its file is being processed waits for the next time that it is (Airflow 3.3).
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "20",
    "CORE__MAX_ACTIVE_TASKS_PER_DAG": "16",
}


#: A gigabyte-sized base would take as long; lease and rate limit leave time to kill what runs.
SLOW: dict[str, Any] = {"transfer": {"rate_limit": "15MB", "threads": 1}, "lease": {"ttl": "10m"}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """There is one Airflow, which takes its time to notice that it was killed."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))


class Live:
    """The stack, its metadata database and its cases.

    :param ends: what ends with the stack.
    """

    def __init__(
        self, root: Path, stack: AirflowStack, database: PostgresServer, seeded: Rig, ends: ExitStack
    ) -> None:
        self.root = root
        self.stack = stack
        self.database = database
        self.seeded = seeded
        self.ends = ends
        self.cases: dict[str, Case] = {}

    def case(self, name: str, *, base: bool = True, **options: object) -> Case:
        """Add a case; before the stack starts.

        :param base: whether its repository has a backup. :param options: see :meth:`Case.configure`.
        """
        case = new_case(self.stack, self.seeded, self.root / "cases", name)
        case.configure(**options)  # type: ignore[arg-type]
        if base:
            copy_repository(self.seeded, case.rig)
        self.cases[name] = case
        return case

    def __getitem__(self, name: str) -> Case:
        return self.cases[name]


@pytest.fixture(scope="module")
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """An Airflow with the cases that the module's ``add_cases(live)`` adds."""
    with ExitStack() as stack:
        root = tmp_path_factory.mktemp("live")
        database = PostgresServer.with_airflow()
        stack.callback(database.stop)
        (root / "logs").mkdir()
        airflow = AirflowStack(
            root / "airflow",
            dags=DAGS,
            logs=root / "logs",
            database=database.url,
            settings=IMPATIENT,
            env={"RESTORE_REPLAY_LIVE": str(root / "cases"), "PYTHONPATH": str(REPO)},
        )
        stack.callback(airflow.sweep)
        stack.callback(lambda: destroy_nodes(root / "cases"))
        stack.callback(airflow.stop)
        seeded = seeded_copy(KITS["mariadb"], root / "seeded", {})
        stack.callback(seeded.primary.discard)
        airflow.add_connection("orders_primary", primary_connection(seeded.primary))
        seeded.primary.execute("UPDATE shop.orders SET note = REPEAT(MD5(id + 1), 20) WHERE id % 10 = 0")
        live = Live(root, airflow, database, seeded, stack)
        request.module.add_cases(live)
        airflow.start()
        airflow.wait_for(*live.cases)
        yield live


def destroy_nodes(cases: Path) -> None:
    """Leave nothing behind, even if a test failed during a run."""
    for workdir in cases.glob("*/nodes"):
        runtime = ProcessRuntime(str(workdir))
        reap(runtime, node_ids=[str(node["node_id"]) for node in runtime.nodes()])


def primary_connection(primary: Primary) -> str:
    fields = {
        "conn_type": "mysql",
        "host": "127.0.0.1",
        "port": primary.port,
        "login": "restore_replay",
        "password": BACKUP_PASSWORD,
    }
    return json.dumps(fields)
