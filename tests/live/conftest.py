"""Airflow as operators run it, once for all of these tests, on a PostgreSQL of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.runtime.process import ProcessRuntime
from airflow_restore_replay.core.steps import reap
from tests.live.support import Case, new_case
from tests.support.airflow_stack import AirflowStack
from tests.support.flavors import KITS
from tests.support.mariadb import MariaDbPrimary
from tests.support.postgres import PostgresServer
from tests.support.primary import BACKUP_PASSWORD, Primary, Witness
from tests.support.rig import Rig, copy_repository
from tests.support.seeding import seeded_copy
from tests.support.unpacked import without

DAGS = Path(__file__).parent / "dags"
REPO = DAGS.parents[2]

#: deaths are noticed within half a minute, where Airflow's defaults wait for minutes. No sooner: on a busy machine a
#: scheduler that lives would be taken for dead, and its tasks be started twice.
IMPATIENT = {
    "CORE__PARALLELISM": "6",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "90",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "30",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # A callback that comes while its file is being processed waits for the next time that it is (Airflow 3.3).
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "20",
    "CORE__MAX_ACTIVE_TASKS_PER_DAG": "16",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """There is one Airflow, which takes its time to notice that it was killed."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))


class Live:
    """The stack, its metadata database and its cases.

    :param witnessed: from then on, for six seconds, *witness* was written to.
    """

    def __init__(
        self,
        root: Path,
        stack: AirflowStack,
        database: PostgresServer,
        seeded: Rig,
        witness: Witness,
        witnessed: datetime,
    ) -> None:
        self.root = root
        self.stack = stack
        self.database = database
        self.seeded = seeded
        self.witness = witness
        self.witnessed = witnessed
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


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
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
        live = _with_cases(root, airflow, database, seeded)
        other = MariaDbPrimary.start(root / "other")
        stack.callback(other.stop)
        _add_stranded(live, other)
        if not without("mysql"):
            mysql = seeded_copy(KITS["mysql"], root / "seeded-mysql", {})
            stack.callback(mysql.primary.discard)
            _add_mysql(live, mysql)
        airflow.start()
        airflow.wait_for(*live.cases)
        yield live


def destroy_nodes(cases: Path) -> None:
    """Leave nothing behind, even where a test failed amid a run."""
    for workdir in cases.glob("*/nodes"):
        runtime = ProcessRuntime(str(workdir))
        reap(runtime, node_ids=[str(node["node_id"]) for node in runtime.nodes()])


def _with_cases(root: Path, airflow: AirflowStack, database: PostgresServer, seeded: Rig) -> Live:
    primary = seeded.primary
    airflow.add_connection("orders_primary", primary_connection(primary))
    witnessed = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    witnessed += timedelta(seconds=witnessed.second % 2)
    witness = Witness(primary)
    witness.write_until(witnessed + timedelta(seconds=7))
    primary.execute("UPDATE shop.orders SET note = REPEAT(MD5(id + 1), 20) WHERE id % 10 = 0")
    live = Live(root, airflow, database, seeded, witness, witnessed)
    _add_cases(live)
    return live


def _add_cases(live: Live) -> None:
    # A gigabyte-sized base would take as long; lease and rate limit leave time to kill what runs.
    slow: dict[str, Any] = {"transfer": {"rate_limit": "15MB", "threads": 1}, "lease": {"ttl": "10m"}}
    for mode, deferrable in (("deferred", True), ("synchronous", False)):
        for job in ("restore", "catch_up", "validate", "snapshot"):
            live.case(f"killed_in_{job}_{mode}", deferrable=deferrable, retries=5, **slow)
        live.case(f"ok_{mode}", deferrable=deferrable)
        live.case(f"quarantined_{mode}", deferrable=deferrable)
        live.case(f"cleared_{mode}", deferrable=deferrable, retries=1)
        live.case(
            f"failed_by_user_{mode}", deferrable=deferrable, transfer={"rate_limit": "3MB", "threads": 1}
        )
    live.case("rebooted_in_restore", **slow)
    live.case("rebooted_in_catch_up", **slow)
    live.case("collided", max_active_runs=4, transfer=slow["transfer"], lease={"wait": "5s", "ttl": "10m"})
    live.case("overtaken", max_active_runs=2, retries=0, lease={"wait": "10m", "ttl": "30s"})
    live.case(
        "backfilled",
        schedule="* * * * * */2",
        end_date=(live.witnessed + timedelta(seconds=4)).isoformat(),
        prove="restored",
        lease={"wait": "10m", "ttl": "10m"},
    )
    live.case("fallback_failed", seed={"method": "physical", "prefix": ["false"]})
    nobody = {"host": "127.0.0.1", "port": 1, "user": "nobody"}
    live.case("environment_in_restore", deferrable=False, primary=nobody)
    live.case("environment_in_create_node", retries=1)
    live.case("no_base", base=False)
    live.case("destroy_fails", spoilt="replay.destroy_node", retries=0)
    live.case("publish_fails", spoilt="published", retries=0)
    live.case("prune_fails", spoilt="prune", retries=0)


def _add_stranded(live: Live, other: MariaDbPrimary) -> None:
    """A cluster whose primary has purged what the base needs."""
    other.create_backup_account()
    other.execute("CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)")
    rig = Rig(other, live.root / "cases" / "stranded")
    case = Case("stranded", rig, live.stack)
    live.cases[case.name] = case
    rig.full()
    other.execute(
        "INSERT INTO shop.orders VALUES (1)", "INSERT INTO shop.orders VALUES (2)", "FLUSH BINARY LOGS"
    )
    other.purge_logs()
    live.stack.add_connection("other_primary", primary_connection(other))
    case.configure(primary={"connection": "other_primary"})


def _add_mysql(live: Live, seeded: Rig) -> None:
    """Two clusters on a primary of the other flavor."""
    primary = seeded.primary
    live.stack.add_connection("mysql_primary", primary_connection(primary))
    for name in ("ok_mysql", "quarantined_mysql"):
        case = Case(name, Rig(primary, live.root / "cases" / name), live.stack)
        live.cases[name] = case.configure(primary={"connection": "mysql_primary"})
        copy_repository(seeded, case.rig)


def primary_connection(primary: Primary) -> str:
    fields = {
        "conn_type": "mysql",
        "host": "127.0.0.1",
        "port": primary.port,
        "login": "restore_replay",
        "password": BACKUP_PASSWORD,
    }
    return json.dumps(fields)
