"""Airflow with a home of its own: SQLite, the shipped ``dags/`` folder as bundle, nothing else on this machine."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.support.places import temporary_root

LOCAL_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
REPO = Path(__file__).parents[2]
# Airflow reads its environment when it is first imported, which the test modules do.
HOME = Path(tempfile.mkdtemp(prefix="rr-airflow-", dir=temporary_root()))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(REPO / "dags"),
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
        [
            {"name": name, "classpath": LOCAL_BUNDLE, "kwargs": {"path": str(REPO / folder)}}
            for name, folder in (("shipped", "dags"), ("examples", "docs/examples"))
        ]
    ),
    # A DAG that changed is stored at once.
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(HOME / "logs"),
}

import pytest  # noqa: E402
import yaml  # noqa: E402

from airflow_restore_replay.operators import base as operators_base  # noqa: E402
from airflow_restore_replay.triggers import job as job_trigger  # noqa: E402
from tests.airflow.support import Shipped  # noqa: E402
from tests.support import templates  # noqa: E402
from tests.support.flavors import KITS  # noqa: E402
from tests.support.primary import BACKUP_PASSWORD, Primary  # noqa: E402
from tests.support.rig import Rig, copy_repository  # noqa: E402
from tests.support.seeding import seeded_copy  # noqa: E402
from tests.support.slack import Slack, slack_server  # noqa: E402

SHOP = (
    "CREATE DATABASE shop",
    "USE shop",
    "CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(60) NOT NULL, "
    "note TEXT, KEY (customer)) ENGINE=InnoDB",
    "INSERT INTO shop.orders (customer, note) SELECT CONCAT('customer-', seq), REPEAT(MD5(seq), 20) "
    "FROM seq_1_to_5000",
)
KIT = replace(KITS["mariadb"], name="airflow", shop=SHOP)


@pytest.fixture(autouse=True)
def defer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs of these tests are too short to be deferred otherwise; and there is no scheduler that lags behind."""
    monkeypatch.setattr(operators_base, "DEFER_AFTER_S", 0.0)
    monkeypatch.setattr(job_trigger, "settle_s", lambda: 0.0)


@pytest.fixture(scope="session")
def metadata_db() -> None:
    """An empty metadata database; migrating one takes seconds."""

    def migrate(root: Path) -> None:
        place = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{root}/airflow.db"}
        program = "from airflow.utils.db import initdb; initdb()"
        subprocess.run([sys.executable, "-c", program], env={**os.environ, **place}, check=True)

    shutil.copy(templates.of_this_run("airflow-metadata", migrate) / "airflow.db", HOME)


@pytest.fixture
def cluster_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that RESTORE_REPLAY_CONFIG names, with one cluster that is unreachable."""
    path = tmp_path / "clusters.yaml"
    cluster = {
        "primary": {"host": "127.0.0.1", "port": 1, "user": "nobody"},
        "repository": {"url": f"file://{tmp_path}/own/repository"},
        "node": {"workdir": str(tmp_path / "own" / "nodes"), "queue": "db1"},
        "lease": {"wait": "1s"},
    }
    path.write_text(yaml.safe_dump({"clusters": {"orders": cluster}}))
    monkeypatch.setenv("RESTORE_REPLAY_CONFIG", str(path))
    return path


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A primary and a repository with one full backup."""
    rig = seeded_copy(KIT, tmp_path_factory.mktemp("airflow"), {})
    yield rig
    rig.primary.discard()


@pytest.fixture(scope="session")
def primary(seeded: Rig) -> Primary:
    return seeded.primary


@contextmanager
def shipped(root: Path, primary: Primary) -> Iterator[Shipped]:
    """The shipped DAG for a cluster whose primary is an Airflow connection."""
    connection = {
        "conn_type": "mysql",
        "host": "127.0.0.1",
        "port": primary.port,
        "login": "restore_replay",
        "password": BACKUP_PASSWORD,
    }
    dag = Shipped(Rig(primary, root, overrides={"schedule": None}))
    dag.configure()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_ORDERS_PRIMARY", json.dumps(connection))
        patch.setenv("RESTORE_REPLAY_CONFIG", str(dag.cluster_file))
        yield dag


@pytest.fixture
def cycle(metadata_db: None, seeded: Rig, tmp_path: Path) -> Iterator[Shipped]:
    """The shipped DAG, and a repository with one backup; no notifier has told anything yet."""
    forget_what_was_told()
    with shipped(tmp_path, seeded.primary) as dag:
        copy_repository(seeded, dag.rig)
        yield dag


def forget_what_was_told() -> None:
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(Variable).where(Variable.key.startswith("restore_replay_told_")))


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """A server in Slack's place, to which Airflow's connections lead."""
    with slack_server() as server:
        for name, value in server.connections.items():
            monkeypatch.setenv(name, value)
        yield server
