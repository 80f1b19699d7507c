"""What Slack, or any other notifier, receives: real runs, a server in Slack's place."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk import BaseNotifier

from airflow_restore_replay.compat import AirflowFailException
from airflow_restore_replay.core.config.cluster import parse_clusters
from airflow_restore_replay.core.errors import ChunkCorrupt, StoreFailed
from airflow_restore_replay.dag import build_restore_replay_dag
from airflow_restore_replay.hooks.clusters import find_cluster
from airflow_restore_replay.notifications import Announcer, CycleMessage, message, reading
from airflow_restore_replay.operators import QuarantineBackupOperator
from tests.airflow.conftest import REPO
from tests.airflow.support import Shipped, context_of, dag_bag, shipped_dag
from tests.support.slack import TOKEN, WEBHOOK, Slack

HOOK = {"slack_webhook_conn_id": "chat_hook"}
API = {"slack_conn_id": "chat_api", "channel": "#backups"}


@pytest.fixture
def damaged(cycle: Shipped) -> str:
    """Return the backup that the next run replays from, one byte of which is flipped."""
    (base,) = cycle.rig.catalog().backups
    cycle.rig.flip_byte(cycle.rig.chunk_of(base.backup_id, "shop/orders.ibd"))
    return base.backup_id


class Pager(BaseNotifier):
    """Another notifier, with templates over the message."""

    template_fields = ("subject", "body")
    sent: list[dict[str, str]] = []

    def __init__(self, subject: str, body: str) -> None:
        super().__init__()
        self.subject = subject
        self.body = body

    def notify(self, context: Any) -> None:
        self.sent.append({"subject": self.subject, "body": self.body})


def test_failed_run_names_the_culprit_not_the_leaf(cycle: Shipped, slack: Slack) -> None:
    (base,) = cycle.rig.catalog().backups
    cycle.configure(notify=HOOK)
    cycle.rig.primary.kill()
    try:
        ran = cycle.run()
    finally:
        cycle.rig.primary.restart()
    assert ran.state == "failed"
    assert [h[2:] for h in slack.headlines] == [
        "orders: replay.restore_backup failed, there is no new backup"
    ], "neither diagnose nor the run tells it again"
    assert {path for path, _, _ in slack.posts} == {f"/services/{WEBHOOK}"}
    for text in slack.shown:
        assert "*What:* replay.restore_backup: PrimaryUnreachable: " in text
        assert "*Blames:* the environment (store, network, node, credentials); no backup" in text
        assert f"*Backup:* {base.backup_id}" in text
        assert re.search(rf"\*Newest healthy backup:\* [\d.]+ ?[smh\d]+ old \({base.backup_id}\)", text), text
        assert "*To do:*" in text
        assert f"*Run:* restore_replay_orders/{ran.run_id}" in text
        assert re.search(r"<http://[^|>]+/tasks/replay\.restore_backup[^|>]*\|Log>", text), text
    documented(slack.shown[0], "failed run")


def test_quarantine_announces_itself_although_the_run_is_green_and_so_does_the_recovery(
    cycle: Shipped, slack: Slack, damaged: str
) -> None:
    cycle.configure(notify={**API, "on": ["run_failure", "quarantine", "recovery"]})
    ran = cycle.run()
    assert ran.state == "success"
    quarantined, recovered = slack.shown
    assert quarantined.splitlines()[0].endswith(f"orders: backup {damaged} is quarantined")
    assert "*Blames:* the backup" in quarantined
    assert "shop/orders.ibd" in quarantined
    assert "*Newest healthy backup:* unknown: there is none" in quarantined
    new = ran.results["published"]["backup_id"]
    assert recovered.splitlines()[0].endswith("orders: there is a new backup again")
    assert f"Published {new}, the first after: quarantined at" in recovered
    assert f"old ({new})" in recovered
    assert f"`restore-replay show {damaged}`" in recovered
    assert {path for path, _, _ in slack.posts} == {"/api/chat.postMessage"}
    assert {auth for _, auth, _ in slack.posts} == {f"Bearer {TOKEN}"}
    assert {body["channel"] for _, _, body in slack.posts} == {"#backups"}
    documented(quarantined, "quarantine")
    documented(recovered, "recovery")
    slack.posts.clear()
    assert cycle.run().state == "success"
    assert slack.posts == [], "a run without a failure sends no message"


def test_without_a_fallback_no_fresh_full_is_promised(cycle: Shipped, slack: Slack, damaged: str) -> None:
    cycle.configure(notify={**HOOK, "on": ["task_failure", "quarantine"]}, fallback="none")
    assert cycle.run().state == "failed"
    (failed,) = slack.shown
    assert failed.splitlines()[0].endswith(f"failed, backup {damaged} is quarantined, there is no new backup")
    assert "Trigger the DAG again: it chooses another base, or takes a fresh full." in failed


def test_a_channel_for_quarantines_alone_learns_what_follows(
    cycle: Shipped, slack: Slack, damaged: str
) -> None:
    cycle.configure(notify={**HOOK, "on": ["quarantine"]}, fallback="none")
    assert cycle.run().state == "failed"
    (quarantined,) = slack.shown
    assert (
        "the next run starts from the newest healthy backup, or takes a fresh full; this run is red"
        in quarantined
    )


@pytest.mark.parametrize(
    ("fallback", "promise"),
    [
        ("full", "the backup is excluded, and the run takes a fresh full copy of the primary."),
        ("older_base", "the run tries the next older healthy backup before it takes a fresh full."),
        ("none", "Trigger the DAG again: it chooses another base, or takes a fresh full."),
    ],
)
def test_a_bad_base_promises_what_the_fallback_does(cluster_file: Path, fallback: str, promise: str) -> None:
    clusters = yaml.safe_load(cluster_file.read_text())
    clusters["clusters"]["orders"]["fallback"] = fallback
    cluster_file.write_text(yaml.safe_dump(clusters))
    context = failed_context(find_cluster("orders"), failing_with(ChunkCorrupt("Chunk 9f3a is corrupt.")))
    assert promise in message({**context, "dag": shipped_dag()}).todo


def test_recovery_after_a_failed_run_and_a_chat_that_is_down(cycle: Shipped, slack: Slack) -> None:
    """A notifier that fails changes nothing; the first good run after a bad one says so."""
    cycle.configure(notify={**HOOK, "on": ["run_failure", "recovery"]})
    slack.broken = True
    cycle.rig.primary.kill()
    try:
        assert cycle.run().state == "failed"
    finally:
        cycle.rig.primary.restart()
    assert len(slack.posts) == 1
    slack.broken = False
    assert cycle.run().state == "success"
    assert slack.headlines[1:] == ["✅ orders: there is a new backup again"]
    assert "PrimaryUnreachable" in slack.shown[1]


def test_failed_fallback_tells_of_both(cycle: Shipped, slack: Slack, damaged: str) -> None:
    cycle.configure(notify={**HOOK, "on": ["run_failure"]}, seed={"method": "physical", "prefix": ["false"]})
    assert cycle.run().state == "failed"
    (text,) = slack.shown
    assert "*What:* full.seed: SeedFailed" in text
    assert f"Before that, backup {damaged} was quarantined." in text
    assert "/tasks/full.seed|Log>" in text


def test_any_notifier_plugs_in_the_same_way(cycle: Shipped, damaged: str) -> None:
    Pager.sent.clear()
    pager = Pager("{{ cycle.title }}", "{{ cycle.text }}")
    told: list[CycleMessage] = []
    dag = build_restore_replay_dag(
        find_cluster("orders"),
        notifiers=[pager, Announcer(lambda context: told.append(context["cycle"]), on=["quarantine"])],
    )
    assert pager.subject == "{{ cycle.title }}"
    occasions = {
        f"replay.restore_backup failed, backup {damaged} is quarantined",
        "there is a new backup again",
    }
    assert cycle.run_dag(dag).state == "success"
    assert {sent["subject"] for sent in Pager.sent} == {f"orders: {what}" for what in occasions}
    assert Pager.sent[0]["body"].splitlines()[-1].startswith("Log: http")
    assert [m.backup_id for m in told] == [damaged]


def test_age_is_unknown_when_the_store_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message comes all the same, and soon."""
    monkeypatch.setattr(reading, "READ_TIMEOUT_S", 3.0)
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "none")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        repository = {
            "url": "s3://bucket/orders",
            "options": {"endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}", "region": "x"},
        }
        section = {"primary": {}, "repository": repository}
        cluster = parse_clusters({"clusters": {"orders": section}})["orders"]
        started = time.monotonic()
        told = message(failed_context(cluster, failing_with(StoreFailed("No answer from the store."))))
    assert time.monotonic() - started < 10
    assert told.age == "unknown: the repository cannot be read"
    assert told.what == "q: StoreFailed: No answer from the store."
    assert told.title == "orders: q failed"
    assert told.log_url == "http://airflow.example/log"


@pytest.mark.parametrize(
    ("exception", "what", "blamed"),
    [
        (AirflowFailException("Stale: backup x is 30h old."), "q: Stale: backup x is 30h old.", "not known"),
        (KeyError("oops"), "q: InternalError: KeyError: 'oops'", "the environment"),
        (None, "q: Its process is gone", "not known"),
    ],
)
def test_failures_that_left_no_record(
    cluster_file: Path, exception: Exception | None, what: str, blamed: str
) -> None:
    told = message(failed_context(find_cluster("orders"), exception))
    assert told.what.startswith(what)
    assert told.blames.startswith(blamed)
    assert told.age == "unknown: the repository cannot be read"


def test_secrets_that_airflow_masks_are_masked(cluster_file: Path) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret("hunter2-geheim")
    context = failed_context(find_cluster("orders"), KeyError("password hunter2-geheim was refused"))
    told = message(context)
    assert "hunter2" not in told.text + told.mrkdwn
    assert "***" in told.what


def test_slack_markup_in_an_error_is_text() -> None:
    told = CycleMessage(
        occasion="run_failure",
        cluster="c",
        title="t" * 300,
        what="<!channel> & more " + "x" * 5000,
        blames="",
        backup_id="",
        age="unknown",
        todo="",
        log_url="http://a/b",
        run="d/r",
    )
    assert "&lt;!channel&gt; &amp; more" in told.mrkdwn
    assert len(told.mrkdwn) < 3000
    assert len(told.headline) <= 150
    assert told.mrkdwn.endswith("<http://a/b|Log>")


def test_a_run_context_without_a_task_still_makes_a_message(cluster_file: Path) -> None:
    told = message({"dag": shipped_dag(), "run_id": "manual__1", "reason": "task_failure"})
    assert (told.cluster, told.run) == ("orders", "restore_replay_orders/manual__1")
    assert told.log_url.endswith("/dags/restore_replay_orders/runs/manual__1")
    assert told.what == "No attempt left a record of what failed."


def test_slack_without_its_provider_is_an_import_error_that_names_the_extra(
    cluster_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters = yaml.safe_load(cluster_file.read_text())
    clusters["clusters"]["orders"]["notify"] = HOOK
    cluster_file.write_text(yaml.safe_dump(clusters))
    assert dag_bag().import_errors == {}
    monkeypatch.setattr("airflow_restore_replay.notifications.slack.find_spec", lambda name: None)
    (error,) = dag_bag().import_errors.values()
    assert "airflow-restore-replay[slack]" in error


def failing_with(cause: Exception) -> AirflowFailException:
    raised = AirflowFailException(f"{type(cause).__name__}: {cause}")
    raised.__cause__ = cause
    return raised


def failed_context(cluster: Any, exception: Exception | None) -> Any:
    task = QuarantineBackupOperator(task_id="q", cluster=cluster)
    context = context_of(task)
    ti = SimpleNamespace(**vars(context["ti"]), log_url="http://airflow.example/log")
    return {**context, "ti": ti, **({"exception": exception} if exception else {})}


_VARYING = (
    (r"\d{8}T\d{6}Z-[0-9a-f]{8}", "ID"),
    (r"[0-9a-f]{16,}(\.\d+)?", "HASH"),
    (r"(manual|scheduled)__[0-9T:.+%AZ-]+", "RUN"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME"),
    (r"\d+m\d\ds|\d+\.\d s|\d+h\d\dm", "AGE"),
    (r"127\.0\.0\.1:\d+|http://localhost:\d+", "HOST"),
    (r"\d{3,}", "N"),
)


def documented(text: str, heading: str) -> None:
    """docs/notifications.md shows this message; only ids, times and addresses differ from run to run.

    With ``UPDATE_DOCS`` in the environment the page gets the message of this run.
    """
    page = REPO / "docs" / "notifications.md"
    block = re.compile(rf"(<!-- message: {heading} -->\n```text\n)(.*?)(```)", re.DOTALL)
    if "UPDATE_DOCS" in os.environ:
        page.write_text(block.sub(lambda m: f"{m[1]}{text}\n{m[3]}", page.read_text()))
    shown = block.search(page.read_text())
    assert shown, text

    def settled(value: str) -> str:
        for pattern, name in _VARYING:
            value = re.sub(pattern, name, value)
        return value

    assert settled(text) == settled(shown[2].rstrip("\n"))
