"""What is told once, again or not at all, over real runs and their messages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.dag import build_restore_drill_dag, build_restore_replay_dag
from airflow_restore_replay.hooks.clusters import find_cluster
from airflow_restore_replay.notifications import Announcer, CycleMessage, message
from airflow_restore_replay.operators import RestoreDrillOperator
from airflow_restore_replay.sensors import BackupFreshnessSensor
from tests.airflow.support import Shipped, context_of
from tests.airflow.test_notifications import failed_context, failing_with
from tests.support.slack import Slack

HOOK = {"slack_webhook_conn_id": "chat_hook"}
NO_SUCH = "20260101T000000Z-00000000"


def test_a_failure_before_any_record_is_told_once_with_its_blame(cycle: Shipped, slack: Slack) -> None:
    cycle.configure(notify=HOOK)
    assert cycle.run(base_backup_id=NO_SUCH).state == "failed"
    (text,) = slack.shown
    assert text.splitlines()[0][2:] == "orders: choose_base failed, there is no new backup"
    assert "*Blames:* the environment" in text


def test_a_channel_for_runs_alone_learns_the_cause_of_a_failure_before_any_record(
    cycle: Shipped, slack: Slack
) -> None:
    cycle.configure(notify={**HOOK, "on": ["run_failure"]})
    assert cycle.run(base_backup_id=NO_SUCH).state == "failed"
    (text,) = slack.shown
    assert text.splitlines()[0][2:] == "orders: the run failed, there is no new backup"
    assert "*What:* choose_base: NoSuchBackup: Cluster orders has no" in text
    assert "*Blames:* the environment" in text


def test_the_next_runs_repeat_a_finding_only_after_the_interval_and_recovery_is_told_once(
    cycle: Shipped, slack: Slack
) -> None:
    cycle.configure(notify={**HOOK, "repeat_after": "1h"})
    for _ in range(2):
        assert cycle.run(base_backup_id=NO_SUCH).state == "failed"
    assert len(slack.posts) == 1, "the second night's finding is the first night's"
    cycle.configure(notify={**HOOK, "repeat_after": 0.001})
    assert cycle.run(base_backup_id=NO_SUCH).state == "failed"
    again = slack.shown[1]
    assert "orders: choose_base failed, there is no new backup (still, since " in again
    assert ", 3 runs)" in again
    slack.posts.clear()
    recovered = cycle.run()
    assert recovered.state == "success"
    assert slack.headlines == ["✅ orders: there is a new backup again"]
    # A cleared task reports the same recovery again, and it is not told again.
    assert cycle.run_dag(
        build_restore_replay_dag(find_cluster("orders")), existing_run=recovered.run_id
    ).state in ("success", "failed")
    assert len(slack.posts) == 1
    slack.posts.clear()
    assert cycle.run(base_backup_id=NO_SUCH).state == "failed"
    assert slack.headlines[0].endswith("orders: choose_base failed, there is no new backup"), "a new episode"


def test_a_finding_that_did_not_reach_the_chat_is_told_by_the_next_run(cycle: Shipped, slack: Slack) -> None:
    cycle.configure(notify={**HOOK, "repeat_after": "1h", "on": ["run_failure"]})
    slack.broken = True
    assert cycle.run(base_backup_id=NO_SUCH).state == "failed"
    slack.broken = False
    slack.posts.clear()
    assert cycle.run(base_backup_id=NO_SUCH).state == "failed"
    assert len(slack.posts) == 1


def test_channels_remember_apart(metadata_db: None, cluster_file: Path) -> None:
    told: dict[str, list[CycleMessage]] = {"a": [], "b": []}
    context = {**failed_context(find_cluster("orders"), failing_with(PreflightFailed("No."))), "run_id": "r1"}
    first, second = (
        Announcer(lambda c: told["a"].append(c["cycle"])),
        Announcer(lambda c: told["b"].append(c["cycle"])),
    )
    for announcer in (first, second, first, second):
        announcer(context)
    assert [len(messages) for messages in told.values()] == [1, 1]


def test_a_drill_never_says_that_there_is_no_new_backup(cluster_file: Path) -> None:
    clusters = yaml.safe_load(cluster_file.read_text())
    clusters["clusters"]["orders"]["drill"] = {"schedule": "@weekly"}
    cluster_file.write_text(yaml.safe_dump(clusters))
    dag = build_restore_drill_dag(find_cluster("orders"))
    told = message({"dag": dag, "run_id": "manual__1", "reason": "task_failure"})
    assert told.title == "orders: a run of restore_drill_orders failed"
    assert told.cluster == "orders"
    assert "fresh full" not in told.todo


def test_a_drill_that_finds_damage_promises_no_fresh_full(cluster_file: Path) -> None:
    from airflow_restore_replay.core.errors import ChunkCorrupt

    with DAG("mine", schedule=None) as dag:
        task = RestoreDrillOperator(task_id="drill", cluster="orders")
    context = context_of(task)
    ti = SimpleNamespace(**vars(context["ti"]), log_url="http://airflow.example/log")
    raised = failing_with(ChunkCorrupt("Chunk 9f3a is corrupt."))
    told = message({**context, "ti": ti, "dag": dag, "exception": raised})
    assert told.title == "orders: drill failed"
    assert "the run takes a fresh full" not in told.todo
    assert "no new backup" not in told.text


@pytest.mark.parametrize("named", [(), ("orders", "billing")])
def test_a_dag_of_ones_own_is_not_a_cluster(cluster_file: Path, named: tuple[str, ...]) -> None:
    with DAG("weekly_report", schedule=None) as dag:
        for name in named:
            BackupFreshnessSensor(task_id=name, cluster=name)
    told = message({"dag": dag, "run_id": "manual__1", "reason": "task_failure"})
    assert told.cluster == ""
    assert told.title == "a run of weekly_report failed"
    assert "no new backup" not in told.text
    assert told.age == ""


def test_a_long_silence_is_no_memory() -> None:
    """A finding that comes back after a success begins anew."""
    from airflow_restore_replay.notifications.memory import Memory

    memory = Memory({})
    night = [datetime(2026, 11, day, 3, tzinfo=UTC) for day in range(1, 9)]
    first = memory.occur("failure:x", run="r1", now=night[0], repeat_after_s=3600.0)
    assert (first.tell, first.runs) == (True, 1)
    memory.told("failure:x", now=night[0])
    again = memory.occur("failure:x", run="r2", now=night[1], repeat_after_s=3600.0)
    assert (again.tell, again.runs, again.since) == (True, 2, night[0])
    memory.told("failure:x", now=night[1])
    memory.forget_failures()
    anew = memory.occur("failure:x", run="r3", now=night[7], repeat_after_s=3600.0)
    assert (anew.tell, anew.runs) == (True, 1)


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"a": 1}', '{"findings": {"failure:x": 3}}'])
def test_a_damaged_memory_tells_twice(damage: str) -> None:
    from airflow_restore_replay.notifications.memory import Memory

    memory = Memory.decode(damage)
    assert memory.occur("failure:x", run="r", now=datetime.now(UTC), repeat_after_s=3600.0).tell


def test_the_callbacks_of_a_dag_carry_no_memory_of_their_own(cluster_file: Path) -> None:
    dag: Any = build_restore_replay_dag(find_cluster("orders"), notifiers=[print, print])
    channels = {c.channel for c in dag.on_failure_callback}
    assert len(channels) == 2, "two notifiers of the same kind are two channels"
