"""Runs by hand and things done again: each does what a person expects, or says which task to clear."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.compat import AirflowFailException
from airflow_restore_replay.core.decisions.choose import published_by
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome
from airflow_restore_replay.core.repository.quarantine import quarantine_by_hand
from airflow_restore_replay.hooks.clusters import find_cluster
from airflow_restore_replay.operators import (
    AcquireLeaseOperator,
    CreateReplayNodeOperator,
    DestroyReplayNodeOperator,
    PublishedOperator,
    QuarantineBackupOperator,
    ReleaseLeaseOperator,
    SnapshotOperator,
    ValidateReplicaOperator,
)
from airflow_restore_replay.sensors import BinlogCatchupSensor
from tests.airflow.support import Shipped, context_of, shipped_dag

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_run_by_hand_without_a_logical_date(cycle: Shipped) -> None:
    (base,) = cycle.rig.catalog().backups
    ran = cycle.run_dag(shipped_dag(), when={"logical_date": None})
    assert ran.state == "success"
    new = cycle.rig.catalog().backup(ran.results["published"]["backup_id"])
    assert new.manifest.base.backup_id == base.backup_id
    assert new.manifest.as_of is None
    cycle.rig.assert_nothing_left()


def test_run_by_hand_from_a_named_base(cycle: Shipped) -> None:
    """Not the newest, but the one that was named."""
    (first,) = cycle.rig.catalog().backups
    assert cycle.run().state == "success"
    ran = cycle.run(base_backup_id=first.backup_id)
    assert ran.state == "success"
    manifest = cycle.rig.catalog().backup(ran.results["published"]["backup_id"]).manifest
    assert manifest.base.backup_id == first.backup_id
    assert len(cycle.rig.catalog().backups) == 3
    cycle.rig.assert_nothing_left()


def test_cleared_run_makes_no_second_backup_unless_its_own_is_bad(cycle: Shipped) -> None:
    (base,) = cycle.rig.catalog().backups
    when = {"logical_date": NOON, "run_after": NOON}
    first = cycle.run_dag(shipped_dag(), when=when)
    again = cycle.run_dag(shipped_dag(), when=when)
    assert again.run_id == first.run_id
    assert again.state == "success"
    assert again.states["replay.create_node"] == "skipped"
    own = first.results["published"]["backup_id"]
    assert again.results["published"]["backup_id"] == own
    assert "trigger a new run" in again.results["choose_base"]["reason"]
    assert {b.backup_id for b in cycle.rig.catalog().backups} == {base.backup_id, own}

    quarantine_by_hand(cycle.rig.repository(), own, run="by hand", by="dba", reason="doubtful")
    cycle.rig.primary.kill()
    try:
        failed = cycle.run_dag(shipped_dag(), when=when)
    finally:
        cycle.rig.primary.restart()
    assert failed.state == "failed", "what the run recorded the first time does not make it green"
    assert failed.states["full.create_node"] == "upstream_failed"
    replaced = cycle.run_dag(shipped_dag(), when=when)
    assert replaced.state == "success"
    new = cycle.rig.catalog().backup(replaced.results["published"]["backup_id"])
    assert new.backup_id != own
    assert new.manifest.base.backup_id == base.backup_id
    assert cycle.rig.catalog().backup(own).state is BackupState.QUARANTINED
    cycle.rig.assert_nothing_left()


def test_published_and_quarantine_are_the_same_when_cleared(cycle: Shipped) -> None:
    (base,) = cycle.rig.catalog().backups
    cycle.rig.flip_byte(cycle.rig.chunk_of(base.backup_id, "shop/orders.ibd"))
    ran = cycle.run()
    before = cycle.rig.catalog()
    cluster = cycle.rig.cluster()
    published = PublishedOperator(task_id="published", cluster=cluster)
    context = again(published, ran.run_id)
    assert published.execute(context)["backup_id"] == ran.results["published"]["backup_id"]
    quarantine = QuarantineBackupOperator(task_id="quarantine_backup", cluster=cluster)
    told = quarantine.execute(again(quarantine, ran.run_id))
    assert told == ran.results["quarantine_backup"]
    after = cycle.rig.catalog()
    assert (after.manifests, after.verdicts) == (before.manifests, before.verdicts)
    links = context["ti"].pushed
    assert links["_link_BackupLink"].endswith(f"/plugin/backups#/orders/{told_id(ran)}")


@pytest.mark.parametrize(
    ("kind", "clear_from"),
    [
        (BinlogCatchupSensor, "restore_backup"),
        (ValidateReplicaOperator, "restore_backup"),
        (SnapshotOperator, "restore_backup"),
    ],
)
def test_a_cleared_task_that_needs_others_names_them(cluster_file: Path, kind: Any, clear_from: str) -> None:
    """Airflow makes a new node for it; what the tasks before it put there is not on it."""
    cluster = find_cluster("orders")
    lease = AcquireLeaseOperator(task_id="lease", cluster=cluster)
    held = lease.execute(context_of(lease))
    create = CreateReplayNodeOperator(task_id="create", cluster=cluster, lease=held)
    task = kind(task_id="task", cluster=cluster, node=create.execute(context_of(create)))
    context = context_of(task)
    try:
        with pytest.raises(AirflowFailException, match=rf"WrongPhase.*{clear_from}"):
            task.execute(context)
        assert context["ti"].pushed["_link_VerdictLink"] == "/plugin/backups#/orders"
    finally:
        destroy = DestroyReplayNodeOperator(task_id="destroy", cluster=cluster, node=task.node)
        destroy.execute(context_of(destroy))
        destroy.execute(context_of(destroy))
        release = ReleaseLeaseOperator(task_id="release", cluster=cluster, lease=held)
        release.execute(context_of(release))
        release.execute(context_of(release))


def test_only_healthy_backups_of_the_very_run_count_as_done(cycle: Shipped) -> None:
    (backup,) = cycle.rig.catalog().backups
    done = published_by(cycle.rig.catalog(), backup.manifest.run)
    assert done is not None
    assert done.existing == backup
    assert published_by(cycle.rig.catalog(), "another/run") is None
    repository = cycle.rig.repository()
    repository.record(repository.new_verdict(Outcome.STRANDED, "x", backup_id=backup.backup_id))
    assert published_by(cycle.rig.catalog(), backup.manifest.run) is None


def again(task: Any, run_id: str) -> Any:
    context = context_of(task, run_id=run_id, try_number=2, max_tries=task.retries + 1)
    context["ti"].dag_id = "restore_replay_orders"
    context["outlet_events"] = {}
    return context


def told_id(ran: Any) -> str:
    return str(ran.results["published"]["backup_id"])
