"""Operators and sensors on a real repository; what one task of them does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from msgspec.structs import replace

from airflow_restore_replay.compat import AirflowFailException, TaskDeferred, gauge
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import (
    ChunkCorrupt,
    LeaseLost,
    PreflightFailed,
    StoreFailed,
    WrongPhase,
)
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.records import (
    BackupState,
    LogGap,
    Outcome,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.objects.record_store import write_record
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.hooks.clusters import find_cluster
from airflow_restore_replay.notifications.compose import message
from airflow_restore_replay.operators import (
    AcquireLeaseOperator,
    ArchiveBinlogsOperator,
    ChooseBaseOperator,
    CreateReplayNodeOperator,
    DestroyReplayNodeOperator,
    DiagnoseCycleOperator,
    PublishedOperator,
    QuarantineBackupOperator,
    ReleaseLeaseOperator,
    RestoreBackupOperator,
    SeedNodeOperator,
    SnapshotOperator,
)
from airflow_restore_replay.operators import stats as operators_stats
from airflow_restore_replay.operators.base import fail_or_retry, job_key, run_as_of
from airflow_restore_replay.sensors import BackupFreshnessSensor, BinlogCatchupSensor
from airflow_restore_replay.triggers.pause import PauseTrigger
from tests.airflow.support import Shipped, context_of
from tests.support.archives import piece_of
from tests.support.primary import BACKUP_PASSWORD
from tests.support.rig import Rig


def backfill(end: datetime | None, *, run_type: str = "backfill") -> SimpleNamespace:
    """Return a run as a task sees it."""
    return SimpleNamespace(run_id="backfill__x", run_type=run_type, data_interval_end=end)


@pytest.fixture
def cluster(cluster_file: Path) -> Cluster:
    return find_cluster("orders")


def test_o7_job_key_is_the_same_over_retries_and_new_after_a_clear(cluster: Cluster) -> None:
    task = SnapshotOperator(task_id="snapshot", cluster=cluster, node={}, retries=2)
    first, retried = context_of(task, try_number=1), context_of(task, try_number=2)
    # Airflow grants a cleared task its retries once more, counted from the try it was cleared at.
    cleared = context_of(task, try_number=2, max_tries=3)
    cleared_and_retried = context_of(task, try_number=3, max_tries=3)
    assert job_key(first) == job_key(retried) == "a_dag/a_run/snapshot/-1/2"
    assert job_key(cleared) == job_key(cleared_and_retried) == "a_dag/a_run/snapshot/-1/3"
    edited = SnapshotOperator(task_id="snapshot", cluster=cluster, node={}, retries=3)
    assert job_key(context_of(edited, max_tries=2)) == job_key(first)


@pytest.mark.parametrize("error", [ChunkCorrupt, WrongPhase, LeaseLost])
def test_what_a_retry_cannot_help_fails_the_task_at_once(error: type[Exception]) -> None:
    with pytest.raises(AirflowFailException, match=f"{error.__name__}: It is so."), fail_or_retry():
        raise error("It is so.")


def test_the_message_of_a_failure_is_logged_before_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AirflowFailException), fail_or_retry():
        raise ChunkCorrupt("It is so.", hint="Do this.")
    assert caplog.messages == ["ChunkCorrupt: It is so. Do this."]


@pytest.mark.parametrize("text", ["yesterday", "2026-08-21T03:00:00", "2026-13-01T00:00:00Z"])
def test_a_parameter_as_of_that_is_no_time_is_refused(text: str) -> None:
    context: Any = {"dag_run": backfill(None, run_type="manual"), "params": {"as_of": text}}
    with pytest.raises(PreflightFailed, match="no time with its zone"):
        run_as_of(context)


def test_circumstance_is_left_to_airflows_retries() -> None:
    with pytest.raises(StoreFailed), fail_or_retry():
        raise StoreFailed("Not now.")


def test_o11_a_bug_of_ours_is_left_to_airflows_retries() -> None:
    with pytest.raises(KeyError), fail_or_retry():
        raise KeyError("oops")


class TestLease:
    def test_second_run_gives_up_naming_the_holder(self, cluster: Cluster) -> None:
        first = AcquireLeaseOperator(task_id="first", cluster=cluster)
        second = AcquireLeaseOperator(task_id="second", cluster=cluster, wait_s=0.3, poll_interval_s=0.1)
        held = first.execute(context_of(first, run_id="one"))
        assert held == {"owner": "a_dag/one", "epoch": 1}
        with pytest.raises(AirflowFailException, match="a_dag/one holds the lease"):
            second.execute(context_of(second, run_id="two"))

    def test_the_same_run_goes_on_under_its_lease(self, cluster: Cluster) -> None:
        task = AcquireLeaseOperator(task_id="acquire", cluster=cluster)
        assert task.execute(context_of(task)) == task.execute(context_of(task))

    def test_deferred_wait_ends_when_the_lease_is_released(self, cluster: Cluster) -> None:
        first = AcquireLeaseOperator(task_id="first", cluster=cluster)
        release = ReleaseLeaseOperator(task_id="release", cluster=cluster, lease=None)
        second = AcquireLeaseOperator(task_id="second", cluster=cluster, wait_s=60, deferrable=True)
        release.lease = first.execute(context_of(first, run_id="one"))
        with pytest.raises(TaskDeferred) as deferred:
            second.execute(context_of(second, run_id="two"))
        assert isinstance(deferred.value.trigger, PauseTrigger)
        assert deferred.value.trigger.seconds <= 20
        release.execute(context_of(release, run_id="one"))
        resumed = second.execute_complete(
            context_of(second, run_id="two"), event={"status": "over"}, **(deferred.value.kwargs or {})
        )
        assert resumed == {"owner": "a_dag/two", "epoch": 2}

    def test_the_end_of_a_run_sends_the_metrics_to_airflows_stats(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: dict[str, tuple[float, dict[str, str]]] = {}

        def keep(name: str, value: float, tags: dict[str, str]) -> None:
            sent[name] = value, tags
            gauge(name, value, tags)  # which Airflow accepts

        monkeypatch.setattr(operators_stats, "gauge", keep)
        take = AcquireLeaseOperator(task_id="take", cluster=cluster)
        release = ReleaseLeaseOperator(task_id="release", cluster=cluster, lease=None)
        release.lease = take.execute(context_of(take, run_id="one"))
        release.execute(context_of(release, run_id="one"))
        assert sent == {}  # no backend is configured, so the repository is not even read
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        release.execute(context_of(release, run_id="one"))
        assert sent["restore_replay.orders.up"] == (1.0, {"cluster": "orders"})
        assert sent["restore_replay.orders.run_active"][0] == 0.0
        tags = {"cluster": "orders", "outcome": "published"}
        assert sent["restore_replay.orders.verdicts.published"][1] == tags

        def fail(*_: object) -> None:
            raise OSError("no route to the stats server")

        monkeypatch.setattr(operators_stats, "gauge", fail)
        release.execute(context_of(release, run_id="one"))

    def test_releasing_nothing_is_fine(self, cluster: Cluster) -> None:
        task = ReleaseLeaseOperator(task_id="release", cluster=cluster, lease=None)
        task.execute(context_of(task))


class TestArchive:
    def test_archives_up_to_now_or_leaves_it_to_another_archiver(self, seeded: Rig, tmp_path: Path) -> None:
        password = tmp_path / "password"
        password.write_text(BACKUP_PASSWORD)
        cluster = seeded.cluster(
            primary={"password_file": str(password)},
            repository={"url": f"file://{tmp_path}/repository"},
            node={"workdir": str(tmp_path / "nodes")},
        )
        task = ArchiveBinlogsOperator(task_id="archive", cluster=cluster)
        result = task.execute(context_of(task))
        assert result["position"] == seeded.primary.execute("SELECT @@gtid_binlog_pos")[0][0]
        assert result["current_at"]
        assert result["gaps"] == []
        lease = task.repository(write=True).log_lease
        lease.acquire("archive/elsewhere", 60)
        assert task.execute(context_of(task))["pieces"] == 0


class TestNode:
    def test_retry_finds_the_node_and_a_clear_makes_a_new_one(self, cluster: Cluster) -> None:
        lease = {"owner": "a_dag/a_run", "epoch": 1}
        create = CreateReplayNodeOperator(task_id="create", cluster=cluster, lease=lease, retries=2)
        destroy = DestroyReplayNodeOperator(task_id="destroy", cluster=cluster, node=None)
        node = create.execute(context_of(create))
        assert create.execute(context_of(create, try_number=2)) == node
        other = create.execute(context_of(create, try_number=2, max_tries=3))
        assert other["node_id"] != node["node_id"]
        assert node["run"] == {"run": "a_dag/a_run", "attempt": "replay", "lease_epoch": 1}
        for each in (node, other, other, None):
            destroy.node = each
            destroy.execute(context_of(destroy))
        assert not Path(cluster.node.workdir).exists()

    def test_failed_setup_leaves_no_node(self, cluster: Cluster) -> None:
        lease = {"owner": "a_dag/a_run", "epoch": 1}
        create = CreateReplayNodeOperator(task_id="create", cluster=cluster, lease=lease)
        context = context_of(create)

        def broken(**_: Any) -> None:
            raise RuntimeError("the API server is gone")

        context["ti"].xcom_push = broken
        with pytest.raises(RuntimeError):
            create.execute(context)
        assert not Path(cluster.node.workdir).exists()

    def test_next_run_removes_what_a_crashed_run_left(self, cluster: Cluster) -> None:
        first = CreateReplayNodeOperator(
            task_id="create", cluster=cluster, lease={"owner": "dead", "epoch": 1}
        )
        first.execute(context_of(first, run_id="dead"))
        second = CreateReplayNodeOperator(
            task_id="create", cluster=cluster, lease={"owner": "live", "epoch": 2}
        )
        node = second.execute(context_of(second, run_id="live"))
        assert [p.name for p in Path(cluster.node.workdir).iterdir()] == [node["node_id"]]

    @pytest.mark.parametrize("lease", [None, ""])
    def test_without_a_lease_there_is_no_node(self, cluster: Cluster, lease: Any) -> None:
        create = CreateReplayNodeOperator(task_id="create", cluster=cluster, lease=lease)
        with pytest.raises(AirflowFailException, match="has no lease"):
            create.execute(context_of(create))

    def test_without_a_node_there_is_no_job(self, cluster: Cluster) -> None:
        restore = RestoreBackupOperator(task_id="restore", cluster=cluster, node=None, backup_id="x")
        with pytest.raises(AirflowFailException, match="has no replay node"):
            restore.execute(context_of(restore))

    def test_o7_snapshot_of_an_empty_node_names_the_task_to_clear_from(self, cluster: Cluster) -> None:
        lease = AcquireLeaseOperator(task_id="acquire", cluster=cluster)
        held = lease.execute(context_of(lease))
        create = CreateReplayNodeOperator(task_id="create", cluster=cluster, lease=held)
        snapshot = SnapshotOperator(
            task_id="snapshot", cluster=cluster, node=create.execute(context_of(create))
        )
        with pytest.raises(AirflowFailException, match=r"WrongPhase.*Clear the run from the task"):
            snapshot.execute(context_of(snapshot))
        destroy = DestroyReplayNodeOperator(task_id="destroy", cluster=cluster, node=snapshot.node)
        destroy.execute(context_of(destroy))
        assert Repository.open(cluster.repository, cluster="orders", write=False).catalog().manifests == ()


class TestDecisions:
    def test_backfill_before_the_first_backup_names_what_is_missing(self, cycle: Shipped) -> None:
        (first,) = cycle.rig.catalog().backups
        task = ChooseBaseOperator(
            task_id="choose", cluster=cycle.rig.cluster(), replay_task_id="a", no_base_task_id="b"
        )
        context = context_of(task)
        context["dag_run"] = backfill(first.manifest.goal_read_at - timedelta(days=1))
        with pytest.raises(
            AirflowFailException, match=f"the oldest healthy backup, {first.backup_id}, is from"
        ):
            task.execute(context)

    def test_only_a_backfill_is_as_of_a_past_time(self, cluster: Cluster) -> None:
        """Scheduled and manual runs take the backup of now, however late they run."""
        task = PublishedOperator(task_id="published", cluster=cluster)
        end = datetime(2026, 8, 21, 3, tzinfo=UTC)
        for run_type, expected in (("backfill", end), ("scheduled", None), ("manual", None)):
            context = context_of(task)
            context["dag_run"] = backfill(end, run_type=run_type)
            assert run_as_of(context) == expected
        context["dag_run"] = backfill(None)
        with pytest.raises(PreflightFailed, match="no data interval"):
            run_as_of(context)

    def test_a_base_that_was_never_chosen_is_not_no_base(self, cluster: Cluster) -> None:
        """choose_base failed, diagnose runs all the same: it must not seed a full over an unreadable store."""
        task = DiagnoseCycleOperator(
            task_id="diagnose",
            cluster=cluster,
            choice=None,
            published_task_id="p",
            quarantine_task_id="q",
            full_task_id="f",
        )
        context = context_of(task)
        context["ti"].get_task_states = lambda **_: {
            "a_run": {"choose_base": "failed", "acquire_lease": "success"}
        }
        with pytest.raises(AirflowFailException, match=r"No base was chosen\. Failed: choose_base\.$"):
            task.execute(context)

    def test_published_needs_a_backup_of_this_run(self, cycle: Shipped) -> None:
        task = PublishedOperator(task_id="published", cluster=cycle.rig.cluster())
        with pytest.raises(AirflowFailException, match="a_dag/a_run published no backup"):
            task.execute(context_of(task))

    def test_a_gap_is_announced_by_the_first_backup_after_it_was_noticed(self, cycle: Shipped) -> None:
        repository = cycle.rig.repository()
        (backup,) = repository.catalog().backups
        made = backup.manifest.created_at
        for name, seconds in (("announced before", -1), ("new", 1)):
            gap = LogGap(
                gap_id=new_id(),
                at=made + timedelta(seconds=seconds),
                cluster="orders",
                run="archive/a_run",
                lease_epoch=1,
                stream=new_id(),
                number=1,
                before="",
                after="0-1-900000000",
                lacking=name,
                reason="the primary purged its binary logs",
            )
            repository.record(gap)
        at = made + timedelta(seconds=2)
        mine = replace(backup.manifest, backup_id=new_id(at), created_at=at, run="a_dag/a_run")
        write_record(repository.store, mine, repository.sealer)
        told: list[Any] = []
        task = PublishedOperator(task_id="published", cluster=cycle.rig.cluster(), on_gap=told.append)
        task.execute(context_of(task))
        (context,) = told
        assert context["gap"]["lacking"] == "new"
        context["ti"].log_url = "http://airflow/log"
        text = message(context).text
        assert text.startswith("orders: the archive has a gap\n")
        assert "What: The archive lacks new: the primary purged its binary logs" in text


class TestQuarantine:
    def test_by_a_persons_decision(self, cycle: Shipped) -> None:
        (backup,) = cycle.rig.catalog().backups
        told: list[Any] = []

        def broken_chat(context: Any) -> None:
            raise ConnectionError("chat is down")

        task = QuarantineBackupOperator(
            task_id="quarantine",
            cluster=cycle.rig.cluster(),
            backup_id=backup.backup_id,
            reason="made while the disk was failing",
            on_quarantine=[broken_chat, lambda context: told.append(context["quarantine"])],
        )
        result = task.execute(context_of(task))
        assert result["quarantined"] == [backup.backup_id]
        assert told == [result]
        after = cycle.rig.catalog().backup(backup.backup_id)
        assert after.state is BackupState.QUARANTINED
        assert after.against[0].reason == "made while the disk was failing"
        assert after.against[0].by == "a_dag/a_run"

    def test_needs_a_reason_or_evidence(self, cycle: Shipped) -> None:
        (backup,) = cycle.rig.catalog().backups
        cluster = cycle.rig.cluster()
        unfounded = QuarantineBackupOperator(task_id="q", cluster=cluster, backup_id=backup.backup_id)
        with pytest.raises(AirflowFailException, match="needs a reason"):
            unfounded.execute(context_of(unfounded))
        nobody = QuarantineBackupOperator(task_id="q2", cluster=cluster)
        with pytest.raises(AirflowFailException, match="recorded no evidence"):
            nobody.execute(context_of(nobody))
        assert cycle.rig.verdicts_against() == []

    def test_without_a_fallback_the_run_ends_here(self, cycle: Shipped) -> None:
        (backup,) = cycle.rig.catalog().backups
        repository = cycle.rig.repository()
        failure = Failure.of(ChunkCorrupt("a chunk is not what it was"))
        found = {"attempt": "replay", "backup_id": backup.backup_id, "failure": failure}
        repository.record(repository.new_verdict(Outcome.QUARANTINED, "a_dag/a_run", **found))
        told: list[Any] = []
        task = QuarantineBackupOperator(
            task_id="quarantine",
            cluster=cycle.rig.cluster(fallback="none"),
            on_quarantine=lambda context: told.append(context["quarantine"]),
        )
        with pytest.raises(AirflowFailException, match="fallback is none: a chunk is not what it was"):
            task.execute(context_of(task))
        assert told[0]["quarantined"] == [backup.backup_id]


class TestFreshness:
    def test_fresh(self, cycle: Shipped) -> None:
        (backup,) = cycle.rig.catalog().backups
        task = BackupFreshnessSensor(task_id="fresh", cluster=cycle.rig.cluster(), max_age="1h")
        found = task.execute(context_of(task))
        assert found["backup_id"] == backup.backup_id
        assert 0 < found["age_s"] < 3600

    def test_stale_fails_without_waiting(self, cycle: Shipped) -> None:
        task = BackupFreshnessSensor(task_id="fresh", cluster=cycle.rig.cluster(), max_age=0.001)
        with pytest.raises(AirflowFailException, match="Stale: backup"):
            task.execute(context_of(task))

    def test_unknown_is_stale(self, cycle: Shipped, cluster: Cluster) -> None:
        unproven = BackupFreshnessSensor(task_id="a", cluster=cycle.rig.cluster(), proof="restored")
        with pytest.raises(AirflowFailException, match="unknown, which counts as stale"):
            unproven.execute(context_of(unproven))
        no_repository = BackupFreshnessSensor(task_id="b", cluster=cluster)
        with pytest.raises(AirflowFailException, match="There is no repository"):
            no_repository.execute(context_of(no_repository))

    def test_the_archive_may_be_asked_for_as_well(self, cycle: Shipped) -> None:
        task = BackupFreshnessSensor(task_id="fresh", cluster=cycle.rig.cluster(), max_age="1h", rpo="1m")
        with pytest.raises(AirflowFailException, match="The archive is behind by an unknown time"):
            task.execute(context_of(task))
        cycle.rig.repository().record(piece_of("orders", "mariadb", 0, 0, current_at=utc_now()))
        assert 0 <= task.execute(context_of(task))["rpo_s"] < 60


class TestAuthoring:
    def test_cluster_by_name_and_file(self, cluster_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RESTORE_REPLAY_CONFIG")
        task = SeedNodeOperator(task_id="seed", cluster="orders", config=str(cluster_file), node={})
        assert task.job_params() == {"method": "logical"}
        wrong = SeedNodeOperator(task_id="wrong", cluster="ordres", config=str(cluster_file), node={})
        with pytest.raises(Exception, match="no cluster 'ordres'; it has: orders"):
            wrong.find_cluster()

    def test_mapped_over_backups(self, cluster: Cluster) -> None:
        with DAG("drill", schedule=None) as dag:
            create = CreateReplayNodeOperator(task_id="create", cluster=cluster, lease={})
            RestoreBackupOperator.partial(task_id="restore", cluster=cluster, node=create.output).expand(
                backup_id=["a", "b"]
            )
            BinlogCatchupSensor.partial(task_id="catch_up", cluster=cluster).expand(node=[{}, {}])
        assert dag.get_task("restore").upstream_task_ids == {"create"}

    def test_catch_up_is_a_sensor_without_reschedule_mode(self, cluster: Cluster) -> None:
        task = BinlogCatchupSensor(task_id="catch_up", cluster=cluster, node={}, timeout=60, deferrable=True)
        assert task._is_sensor
        assert task.timeout == 60
        with pytest.raises(ValueError, match="deferrable=True"):
            BinlogCatchupSensor(task_id="other", cluster=cluster, node={}, mode="reschedule")
