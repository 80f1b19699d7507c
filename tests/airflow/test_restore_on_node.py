"""Restores and drills as tasks whose work is a job on another host."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from airflow_restore_replay.compat import AirflowFailException, TaskDeferred
from airflow_restore_replay.core.recovery.measurements import measured_of
from airflow_restore_replay.operators import RestoreDrillOperator, RestoreToOperator
from airflow_restore_replay.triggers.job import JobTrigger
from tests.airflow.support import Shipped, context_of
from tests.airflow.test_restore_to import MASK, rows
from tests.support.archives import archive_logs
from tests.support.primary import BACKUP_PASSWORD
from tests.support.process_list import ProcessListWatch
from tests.support.rig import processes_in
from tests.support.sshd import Sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd.start(tmp_path_factory.mktemp("airflow-on-node") / "sshd")
    yield server
    server.stop()


@pytest.fixture
def over_ssh(cycle: Shipped, sshd: Sshd) -> Iterator[Shipped]:
    cycle.configure(node={**sshd.node_section, "python": sys.executable})
    yield cycle
    assert not cycle.rig.workdir.exists()
    assert processes_in(cycle.rig.root) == []


def test_x1_a_masked_backup_and_a_moment_over_ssh(over_ssh: Shipped, tmp_path: Path) -> None:
    script, target = tmp_path / "mask.sql", tmp_path / "staging" / "data"
    script.write_text(MASK)
    with ProcessListWatch((BACKUP_PASSWORD,)) as watch:
        task = RestoreToOperator(task_id="refresh", cluster="orders", target=str(target), sql=str(script))
        result = task.execute(context_of(task))
    assert (watch.looks > 10, watch.leaks) == (True, set())
    assert (result["backup_id"], result["target"]) == (over_ssh.rig.newest, str(target))
    assert rows(target, "SELECT COUNT(*) FROM shop.orders WHERE customer NOT LIKE 'customer %'") == [(0,)]
    archive_logs(over_ssh.rig.repository(), over_ssh.rig.primary)
    task = RestoreToOperator(task_id="latest", cluster="orders", target=str(target), latest=True, force=True)
    phases = task.execute(context_of(task))["phases"]
    assert phases.keys() >= {"restore", "replay"}
    of_backup, of_moment = measured_of(over_ssh.rig.catalog())
    assert (of_backup.kind, of_backup.wanted, set(of_backup.phases)) == ("restore", "", {"plan", "restore"})
    assert (of_moment.kind, of_moment.wanted, of_moment.phases) == ("restore", "latest", phases)


def test_what_cannot_be_masked_there_is_not_left(over_ssh: Shipped, tmp_path: Path) -> None:
    script, target = tmp_path / "mask.sql", tmp_path / "staging" / "data"
    script.write_text(MASK + "UPDATE nowhere SET a = 1;\n")
    task = RestoreToOperator(task_id="refresh", cluster="orders", target=str(target), sql=str(script))
    with pytest.raises(AirflowFailException, match=r"script\.sql failed: .*nowhere"):
        task.execute(context_of(task))
    assert list(target.iterdir()) == []


def test_a_drill_over_ssh(over_ssh: Shipped) -> None:
    archive_logs(over_ssh.rig.repository(), over_ssh.rig.primary)
    drill = RestoreDrillOperator(task_id="drill", cluster="orders", moments="latest")
    measured = drill.execute(context_of(drill))
    (recorded,) = measured_of(over_ssh.rig.catalog())
    assert recorded.kind == "drill"
    assert (recorded.backup_id, recorded.phases) == (measured["backup_id"], measured["phases"])


def test_a_deferred_restore_is_resumed_and_one_that_is_killed_leaves_nothing(
    over_ssh: Shipped, sshd: Sshd, tmp_path: Path
) -> None:
    node = {**sshd.node_section, "python": sys.executable}
    over_ssh.configure(node=node, transfer={"rate_limit": "6MiB"})

    def task(name: str) -> RestoreToOperator:
        target = str(tmp_path / name)
        return RestoreToOperator(task_id=name, cluster="orders", target=target, deferrable=True)

    for name in ("resumed", "killed"):
        first = task(name)
        with pytest.raises(TaskDeferred) as deferred:
            first.execute(context_of(first))
        trigger = cast(JobTrigger, deferred.value.trigger)
        assert trigger.serialize()[1]["owns_node"]
        if name == "resumed":
            again = task(name)
            result = again.execute_complete(context_of(again), {"status": "ended", "seen": "succeeded"})
            assert (result["backup_id"], result["target"]) == (over_ssh.rig.newest, str(tmp_path / name))
        else:
            asyncio.run(trigger.on_kill())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"target": "relative"}, "not an absolute path"),
        ({"target": "volume:data"}, "for node.runtime docker"),
        ({"sql": "/nowhere.sql"}, "does not exist"),
        ({"latest": True, "backup_id": "x"}, "a moment chooses its own"),
    ],
)
def test_bad_parameters_are_refused(
    over_ssh: Shipped, tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    given: dict[str, Any] = {"target": str(tmp_path / "target"), "cluster": "orders"} | options
    task = RestoreToOperator(task_id="refresh", **given)
    with pytest.raises(AirflowFailException, match=why):
        task.execute(context_of(task))
    assert not (tmp_path / "target").exists()
