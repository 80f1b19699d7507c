"""The command line where Airflow is installed: connections of the cluster file, and the README's first example."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.primary import BACKUP_PASSWORD, Primary
from tests.support.rig import Rig
from tests.support.stores.s3 import CREDENTIALS
from tests.support.stores.seaweedfs import SeaweedFs

README = (Path(__file__).parents[2] / "README.md").read_text()
CLI = (sys.executable, "-c", "from airflow_restore_replay.cli.main import main; main()")


def run(config: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    place = {**os.environ, "RESTORE_REPLAY_CONFIG": str(config), **environment}
    place.pop(
        "AIRFLOW_CONN_ORDERS_PRIMARY", None
    ) if "AIRFLOW_CONN_ORDERS_PRIMARY" not in environment else None
    return subprocess.run([*CLI, *arguments], env=place, capture_output=True, text=True, check=False)


def connection_to(primary: Primary) -> dict[str, Any]:
    return {
        "conn_type": "mysql",
        "host": "127.0.0.1",
        "port": primary.port,
        "login": "restore_replay",
        "password": BACKUP_PASSWORD,
    }


@pytest.fixture
def s3() -> Iterator[SeaweedFs]:
    with SeaweedFs() as server:
        server._make_bucket("backups")
        yield server


def test_the_readmes_first_example_works_for_doctor_and_cycle(
    s3: SeaweedFs, primary: Primary, tmp_path: Path
) -> None:
    """As it stands, but for the paths, which only root may write to."""
    found = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert found
    config, keys = tmp_path / "clusters.yaml", tmp_path / "keys"
    keys.mkdir()
    text = found[1].replace("/etc/restore-replay", str(keys)).replace("/var/lib", str(tmp_path))
    config.write_text(text)
    environment = {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": CREDENTIALS["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS["secret_access_key"],
    }
    by_airflow = {"AIRFLOW_CONN_ORDERS_PRIMARY": json.dumps(connection_to(primary))}
    assert run(config, "key", "new", str(keys / "orders.key")).returncode == 0
    assert run(config, "config", "check").returncode == 0
    doctor = run(config, "doctor", **environment, **by_airflow)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "FAILED" not in doctor.stdout
    cycle = run(config, "cycle", "--json", **environment, **by_airflow)
    assert cycle.returncode == 0, cycle.stdout + cycle.stderr
    assert json.loads(cycle.stdout)["proof"] == "restored"
    listed = run(config, "list", "--json", **environment)
    assert len(json.loads(listed.stdout)["backups"]) == 1, listed.stderr
    assert BACKUP_PASSWORD not in doctor.stdout + doctor.stderr + cycle.stdout + cycle.stderr


def test_a_connection_comes_from_airflows_database(
    metadata_db: None, primary: Primary, tmp_path: Path
) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    config, rig = tmp_path / "clusters.yaml", Rig(primary, tmp_path)
    section = rig.section(primary={"connection": "stored_primary"})
    config.write_text(yaml.safe_dump({"clusters": {"orders": section}}))
    missing = run(config, "doctor")
    assert missing.returncode == 2
    assert "Airflow does not resolve a connection of clusters.orders" in missing.stderr
    assert "stored_primary" in missing.stderr
    assert "`airflow connections list`" in missing.stderr
    with create_session() as session:
        session.add(Connection(conn_id="stored_primary", **connection_to(primary)))
    try:
        done = run(config, "doctor")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        with create_session() as session:
            session.query(Connection).filter_by(conn_id="stored_primary").delete()


def test_a_repository_with_a_url_opens_while_airflow_cannot_be_asked(
    primary: Primary, tmp_path: Path
) -> None:
    config, rig = tmp_path / "clusters.yaml", Rig(primary, tmp_path)
    rig.repository()
    section = rig.section(repository={"connection": "nowhere"})
    config.write_text(yaml.safe_dump({"clusters": {"orders": section}}))
    listed = run(
        config, "list", "--json", AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:////nowhere/airflow.db"
    )
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout)["backups"] == []
    assert "The credentials of the environment are used." in listed.stderr
