"""A job outlives the task and the triggerer that watch it: real agent, real node, a restore slowed down."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from airflow_restore_replay.compat import (
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
    TaskDeferred,
)
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import JobCancelled, PrimaryUnreachable
from airflow_restore_replay.core.jobs.protocol import JobName, JobState, JobStatus, RunRef
from airflow_restore_replay.core.runtime import waiter
from airflow_restore_replay.hooks import ReplayNodeHook
from airflow_restore_replay.operators import RestoreBackupOperator
from airflow_restore_replay.operators import base as operators_base
from airflow_restore_replay.operators.base import job_key
from airflow_restore_replay.triggers import job as job_trigger
from airflow_restore_replay.triggers.job import JobTrigger
from tests.airflow.support import Shipped, context_of
from tests.support.mariadb import BACKUP_PASSWORD


class Slow:
    """A restore that takes about a minute, on a node of its own, and the task that would run it."""

    def __init__(self, shipped: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SLOW_PASSWORD", BACKUP_PASSWORD)
        primary = {"password_env": "SLOW_PASSWORD"}
        self.cluster: Cluster = shipped.rig.cluster(primary=primary, transfer={"rate_limit": "3MB"})
        self.hook = ReplayNodeHook(self.cluster)
        (backup,) = shipped.rig.catalog().backups
        self.lease = shipped.rig.repository().lease
        self.epoch = self.lease.acquire("a_dag/a_run", 60)
        run = RunRef(run="a_dag/a_run", attempt="replay", lease_epoch=self.epoch)
        self.node = self.hook.create(run, key="slow")
        self.backup_id = backup.backup_id
        self.task = self.new_task()
        self.context = context_of(self.task)
        self.key = job_key(self.context)

    def new_task(self, **options: Any) -> RestoreBackupOperator:
        return RestoreBackupOperator(
            task_id="restore", cluster=self.cluster, node=self.node, backup_id=self.backup_id, **options
        )

    def start(self) -> Any:
        """Start the job as the task's first try does."""
        return self.hook.submit(
            self.node, job=JobName.RESTORE, key=self.key, params={"backup_id": self.backup_id}
        )

    def trigger(self) -> JobTrigger:
        trigger = self.deferred().trigger
        assert isinstance(trigger, JobTrigger)
        return trigger

    def deferred(self) -> Any:
        task = self.new_task(deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(context_of(task))
        return deferred.value

    def end(self) -> None:
        self.hook.destroy(self.node)
        self.lease.release("a_dag/a_run", self.epoch)


@pytest.fixture
def slow(cycle: Shipped, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    job = Slow(cycle, monkeypatch)
    yield job
    job.end()
    cycle.rig.assert_nothing_left()


async def first_event(trigger: JobTrigger) -> Any:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


def test_o1_a_retry_finds_the_running_job(slow: Slow) -> None:
    started = slow.start()
    assert started.status is JobStatus.RUNNING
    deferred = slow.deferred()
    assert isinstance(deferred.trigger, JobTrigger)
    assert deferred.trigger.key == started.key
    again = slow.hook.status(slow.node, slow.key)
    assert (again.process, again.attempt_no) == (started.process, 1)


def test_o13_retries_that_are_edited_while_a_task_is_deferred_lead_to_the_same_job(slow: Slow) -> None:
    slow.deferred()
    edited = slow.new_task(retries=7)
    context = context_of(edited, max_tries=slow.task.retries)
    slow.hook.cancel(slow.node, slow.key)
    with pytest.raises(JobCancelled):
        edited.execute_complete(context, {"status": "ended", "seen": "failed"})


def test_o13_running_job_keeps_its_request_and_the_log_says_so(
    slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    started = slow.start()
    assert slow.start().process == started.process
    assert "keeps the parameters" not in caplog.text
    edited = ReplayNodeHook(msgspec.structs.replace(slow.cluster, timezone="Europe/Berlin"))
    params = {"backup_id": slow.backup_id}
    attached = edited.submit(slow.node, job=JobName.RESTORE, key=slow.key, params=params)
    assert (attached.process, attached.attempt_no) == (started.process, 1)
    assert f"Job restore of node {slow.node['node_id']} keeps the parameters" in caplog.text


def test_o8_killed_while_deferred_cancels_the_job(slow: Slow) -> None:
    """A task that still runs then was not ended by a user: its retry continues with the state of the node."""
    trigger = slow.trigger()
    asyncio.run(trigger.on_kill())
    state = slow.hook.status(slow.node, slow.key)
    assert state.status is JobStatus.FAILED
    assert state.failure is not None
    assert state.failure.code == "JobCancelled"
    assert asyncio.run(first_event(trigger))["status"] == "ended"
    with pytest.raises(JobCancelled):
        slow.task.execute_complete(slow.context, {"status": "ended", "seen": "failed"})
    slow.deferred()
    again = slow.hook.status(slow.node, slow.key)
    assert (again.status, again.attempt_no) == (JobStatus.RUNNING, 2)


@pytest.mark.parametrize("state", ["failed", "success", "restarting"])
def test_o8_killed_on_the_worker_cancels_the_job(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(operators_base, "task_state", lambda ti: state)
    slow.start()
    slow.task._watch(slow.context)
    slow.task.on_kill()
    assert slow.hook.status(slow.node, slow.key).status is JobStatus.FAILED


@pytest.mark.parametrize("state", ["running", "queued", "", "unknown"])
def test_o1_worker_that_nobody_counts_on_leaves_the_job_alone(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Its scheduler died and the task was scheduled again; or the worker is being shut down."""
    monkeypatch.setattr(operators_base, "task_state", lambda ti: state)
    slow.start()
    slow.task._watch(slow.context)
    slow.task.on_kill()
    assert slow.hook.status(slow.node, slow.key).status is JobStatus.RUNNING


def test_time_out_on_the_worker_cancels_the_job(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators_base, "task_state", lambda ti: "running")
    slow.start()
    slow.task._watch(slow.context)
    try:
        raise AirflowTaskTimeout
    except AirflowTaskTimeout:
        slow.task.on_kill()  # as Airflow does
    assert slow.hook.status(slow.node, slow.key).status is JobStatus.FAILED


def test_trigger_leaving_does_not_cancel_the_job(slow: Slow) -> None:
    trigger = slow.trigger()

    async def watch_a_while() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(first_event(trigger), 0.6)
        await trigger.cleanup()

    asyncio.run(watch_a_while())
    assert slow.hook.status(slow.node, slow.key).status is JobStatus.RUNNING


def test_time_out_while_deferred_cancels_the_job(slow: Slow) -> None:
    slow.start()
    with pytest.raises(TaskDeferralTimeout):
        slow.task.resume_execution("__fail__", {"error": "Trigger timeout"}, slow.context)
    assert slow.hook.status(slow.node, slow.key).status is JobStatus.FAILED


def test_x1_serialized_trigger_is_small_and_has_no_secret(slow: Slow) -> None:
    path, kwargs = slow.trigger().serialize()
    assert path == "airflow_restore_replay.triggers.job.JobTrigger"
    text = json.dumps(kwargs)
    assert len(text) < 4096
    assert BACKUP_PASSWORD not in text
    assert JobTrigger(**json.loads(text)).serialize() == (path, kwargs)


def test_fifty_triggers_do_not_block_the_loop(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever waits, for a node or a connection, waits in another thread than the loop's."""
    kwargs = slow.trigger().serialize()[1]
    status, asked_in = ReplayNodeHook.status, set()

    def noting(hook: ReplayNodeHook, node: dict[str, Any], key: str) -> JobState:
        asked_in.add(threading.current_thread())
        return status(hook, node, key)

    async def watch() -> None:
        watchers = [asyncio.create_task(first_event(JobTrigger(**kwargs))) for _ in range(50)]
        while len(asked_in) < 2:
            await asyncio.sleep(0.01)
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)

    monkeypatch.setattr(ReplayNodeHook, "status", noting)
    asyncio.run(watch())
    assert threading.current_thread() not in asked_in


def test_node_on_another_host_is_handed_back_to_the_worker(slow: Slow) -> None:
    kwargs = slow.trigger().serialize()[1]
    elsewhere = JobTrigger(**{**kwargs, "node": {**kwargs["node"], "host": "another-host"}})
    event = asyncio.run(first_event(elsewhere))
    assert event["status"] == "unreachable"
    assert "another-host" in event["seen"]


def test_wrong_host_fails_naming_host_and_queue(slow: Slow) -> None:
    task = slow.new_task()
    task.node = {**slow.node, "host": "another-host"}
    with pytest.raises(AirflowFailException, match=r"WrongHost: .*another-host.*queue"):
        task.execute(slow.context)


def test_progress_is_logged_while_waiting(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiter, "PROGRESS_INTERVAL_S", 0.8)
    slow.start()
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        if "MB/s" in line:
            slow.hook.cancel(slow.node, slow.key)

    state = slow.hook.wait(slow.node, slow.key, on_progress=note)
    assert state.status is JobStatus.FAILED
    assert "MB/s" in lines[-1], lines
    assert "ETA" in lines[-1]


def test_failed_by_environment_is_tried_again_under_the_same_key(slow: Slow, cycle: Shipped) -> None:
    cycle.rig.primary.kill()
    try:
        for attempt_no in (1, 2):
            with pytest.raises(PrimaryUnreachable):
                slow.task.execute(context_of(slow.task, try_number=attempt_no))
            assert slow.hook.status(slow.node, slow.key).attempt_no == attempt_no
    finally:
        cycle.rig.primary.restart()


def test_link_to_the_backup_is_there_while_the_task_is_deferred(slow: Slow) -> None:
    task = slow.new_task(deferrable=True)
    context = context_of(task)
    with pytest.raises(TaskDeferred):
        task.execute(context)
    url = context["ti"].pushed["_link_BackupLink"]
    assert url == f"/plugin/backups#/orders/{slow.backup_id}"
    link = next(link for link in task.operator_extra_links if link.xcom_key == "_link_BackupLink")
    assert link.get_link(task, ti_key=context["ti"]) == url
    # The resumed task is another object: the link must not be emptied when it ends.
    resumed, pulled = slow.new_task(), context["ti"]
    pulled.xcom_pull = lambda task_ids, key, map_indexes: pulled.pushed.get(key)
    assert link.get_link(resumed, ti_key=pulled) == url


def test_a_deferred_task_stays_so_until_its_supervisor_has_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may notice only at its next heartbeat; a task that is back before that is taken for failed."""
    monkeypatch.undo()
    assert job_trigger.settle_s() > 5.0, "Airflow's default"
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "20")
    assert job_trigger.settle_s() > 20.0
