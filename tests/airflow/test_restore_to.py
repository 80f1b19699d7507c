"""Restores to a directory, and drills, as tasks; the DAG of drills."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from airflow_restore_replay.compat import AirflowFailException
from airflow_restore_replay.core.recovery.measurements import measured_of
from airflow_restore_replay.dag import build_configured_drill_dags
from airflow_restore_replay.hooks.clusters import find_cluster
from airflow_restore_replay.operators import RestoreDrillOperator, RestoreToOperator
from tests.airflow.support import Shipped, context_of
from tests.support.archives import archive_logs
from tests.support.mariadb import MariaDbPrimary
from tests.support.rig import processes_in

MASK = "USE shop;\nUPDATE orders SET customer = CONCAT('customer ', id);\n"


def rows(target: Path, query: str) -> list[tuple[object, ...]]:
    """Start a server on the restored directory, and return what it answers."""
    copy = MariaDbPrimary.start(target.parent, options=["--skip-slave-start"])
    try:
        return copy.execute(query)
    finally:
        copy.discard()


def test_a_staging_server_gets_the_newest_backup_masked(cycle: Shipped, tmp_path: Path) -> None:
    script, target = tmp_path / "mask.sql", tmp_path / "staging" / "data"
    script.write_text(MASK)
    task = RestoreToOperator(
        task_id="refresh", cluster="orders", target=str(target), sql=str(script), force=True
    )
    result = task.execute(context_of(task))
    assert result["backup_id"] == cycle.rig.newest
    assert processes_in(tmp_path / "staging") == []
    assert rows(target, "SELECT COUNT(*) FROM shop.orders WHERE customer NOT LIKE 'customer %'") == [(0,)]
    again = RestoreToOperator(task_id="refresh", cluster="orders", target=str(target))
    with pytest.raises(AirflowFailException, match="TargetNotEmpty"):
        again.execute(context_of(again))


def test_what_cannot_be_masked_is_not_left(cycle: Shipped, tmp_path: Path) -> None:
    script, target = tmp_path / "mask.sql", tmp_path / "staging" / "data"
    script.write_text(MASK + "UPDATE nowhere SET a = 1;\n")
    task = RestoreToOperator(task_id="refresh", cluster="orders", target=str(target), sql=str(script))
    with pytest.raises(AirflowFailException, match=r"mask\.sql failed: .*nowhere"):
        task.execute(context_of(task))
    assert list(target.iterdir()) == []
    assert [p.name for p in target.parent.iterdir()] == ["data"]


def test_a_moment_and_a_drill(cycle: Shipped, tmp_path: Path) -> None:
    archive_logs(cycle.rig.repository(), cycle.rig.primary)
    target = tmp_path / "staging" / "data"
    task = RestoreToOperator(task_id="latest", cluster="orders", target=str(target), latest=True)
    result = task.execute(context_of(task))
    assert result["phases"].keys() >= {"restore", "replay"}
    shutil.rmtree(target)
    drill = RestoreDrillOperator(task_id="drill", cluster="orders")
    measured = drill.execute(context_of(drill))
    *_, restored, drilled = measured_of(cycle.rig.catalog())
    assert (restored.kind, restored.phases) == ("restore", result["phases"])
    assert (drilled.kind, drilled.backup_id, drilled.phases) == (
        "drill",
        measured["backup_id"],
        measured["phases"],
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"at": "yesterday"}, "'yesterday' is not a time"),
        ({"at": "1 hour ago", "latest": True}, "Several moments are named"),
        ({"latest": True, "backup_id": "x"}, "a moment chooses its own"),
        ({"target": "relative"}, "must be an absolute path"),
        ({"sql": "/nowhere.sql"}, "does not exist"),
        ({"backup_id": "nothing"}, "no readable backup nothing"),
    ],
)
def test_bad_parameters_are_refused(
    cycle: Shipped, tmp_path: Path, options: dict[str, object], why: str
) -> None:
    given: dict[str, object] = {"target": str(tmp_path / "target")} | options
    task = RestoreToOperator(task_id="refresh", cluster="orders", **given)  # type: ignore[arg-type]
    with pytest.raises(AirflowFailException, match=why):
        task.execute(context_of(task))
    assert not (tmp_path / "target").exists()


def test_the_drill_dag_of_each_cluster_that_has_a_schedule(cluster_file: Path) -> None:
    assert build_configured_drill_dags() == {}
    clusters = yaml.safe_load(cluster_file.read_text())
    clusters["clusters"]["orders"]["drill"] = {"schedule": "0 9 * * 1", "moments": "latest"}
    cluster_file.write_text(yaml.safe_dump(clusters))
    (dag,) = build_configured_drill_dags().values()
    (task,) = dag.tasks
    assert (dag.dag_id, task.task_id, task.queue) == ("restore_drill_orders", "drill", "db1")
    assert dag.params["moments"] == "latest"
    assert find_cluster("orders").drill.schedule == "0 9 * * 1"
