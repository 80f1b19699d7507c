"""``status``: many clusters at a glance, and as a Nagios plugin."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.repository.format.records import Outcome
from tests.support.fleets import Member, make_fleet

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(tmp_path: Path) -> dict[str, Member]:
    """A fresh cluster, one whose last run failed, one that is too old, and one without a repository."""
    members = make_fleet(tmp_path, ["fresh", "failed", "old", "gone"])
    for age in (26, 2):
        members["fresh"].cycle(age * HOUR)
    members["failed"].cycle(3 * HOUR)
    members["failed"].failed(HOUR, "No space | left\nfor the node.")
    members["old"].cycle(60 * HOUR)
    shutil.rmtree(tmp_path / "gone")
    return members


def run(root: Path, *arguments: str, exit_code: int) -> Result:
    result = CliRunner().invoke(cli, ["status", "--config", str(root / "clusters.yaml"), *arguments])
    assert result.exit_code == exit_code, result.output
    return result


def as_json(root: Path, *arguments: str, exit_code: int) -> Any:
    return msgspec.json.decode(run(root, "--json", *arguments, exit_code=exit_code).stdout)


def test_the_worst_cluster_is_first_and_gives_the_exit_code(fleet: dict[str, Member], tmp_path: Path) -> None:
    result = run(tmp_path, exit_code=2)
    first, header, *rows = result.stdout.splitlines()
    assert first.startswith("RESTORE-REPLAY CRITICAL - 2 critical, 1 warning, 1 ok; gone: ")
    assert first.endswith(" | critical=2;;;0 warning=1;;;0 ok=1;;;0")
    assert header.split()[:4] == ["CLUSTER", "STATE", "AGE", "LIMIT"]
    assert [row.split()[:2] for row in rows[:4]] == [
        ["gone", "critical"],
        ["old", "critical"],
        ["failed", "warning"],
        ["fresh", "ok"],
    ]
    assert "old: the newest backup is 2d12h old, limit 1d02h" in rows
    assert any("No space | left for the node." in row for row in rows)


@pytest.mark.parametrize(
    ("cluster", "code", "severity"),
    [("fresh", 0, "ok"), ("failed", 1, "warning"), ("old", 2, "critical"), ("gone", 2, "critical")],
)
def test_one_cluster_in_detail(
    fleet: dict[str, Member], tmp_path: Path, cluster: str, code: int, severity: str
) -> None:
    text = run(tmp_path, "--cluster", cluster, exit_code=code).stdout
    assert text.startswith(f"RESTORE-REPLAY {severity.upper()} - 1 {severity}")
    (found,) = as_json(tmp_path, "--cluster", cluster, exit_code=code)
    assert (found["cluster"], found["severity"]) == (cluster, severity)
    assert (found["error"] is not None) == (cluster == "gone")
    if cluster == "fresh":
        assert found["complete"]
        assert found["fresh"]["backup_id"] in text
        assert "proven" in text


def test_wrong_usage_is_unknown(fleet: dict[str, Member], tmp_path: Path) -> None:
    assert run(tmp_path, "--cluster", "nobody", exit_code=3).stdout.startswith("RESTORE-REPLAY UNKNOWN - ")
    run(tmp_path, "--watch", "--json", exit_code=3)
    (tmp_path / "clusters.yaml").write_text("clusters: {}")
    run(tmp_path, exit_code=3)


def test_x45_hostile_texts_stay_text_and_rows_stay_narrow(tmp_path: Path) -> None:
    name = "a" * 63
    members = make_fleet(tmp_path, [name, "b"])
    members[name].cycle(HOUR)
    members[name].failed(HOUR / 2, "x\x1b[2J\x9b2Jy\r|" * 200)
    members[name].repository.lease.acquire("dag/\x1b]0;owned\x07" + "r" * 200, 600)
    result = run(tmp_path, exit_code=2)
    assert not {"\x1b", "\x9b", "\r", "\x07"} & set(result.stdout)
    table = result.stdout.splitlines()[1:4]
    assert all(len(line) <= 80 for line in table), table
    assert len(result.stdout.splitlines()) == 1 + 1 + 2 + 2


def test_a_table_of_forty_clusters_fits_80_columns(tmp_path: Path) -> None:
    members = make_fleet(tmp_path, [f"shard-{n:02d}.of.a.large.shop" for n in range(40)])
    for member in members.values():
        member.cycle(2 * HOUR)
        member.repository.lease.acquire("dag/now", 600)
    lines = run(tmp_path, exit_code=0).stdout.splitlines()
    assert len(lines) == 42
    assert all(len(line.rstrip()) <= 80 for line in lines[1:])


def test_watch_ends_cleanly_on_ctrl_c(fleet: dict[str, Member], tmp_path: Path) -> None:
    process = start(["status", "--watch", "--interval", "0.2", "--config", str(tmp_path / "clusters.yaml")])
    try:
        assert process.stdout
        seen = 0
        for line in process.stdout:
            seen += line.startswith("RESTORE-REPLAY CRITICAL")
            if seen == 2:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()


def test_a_store_that_hangs_delays_no_other_and_does_not_keep_the_process(tmp_path: Path) -> None:
    members = make_fleet(tmp_path, ["good"])
    members["good"].cycle(HOUR)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and never answers
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        repository = {"url": "s3://bucket/dead", "options": {"endpoint": endpoint, "region": "x"}}
        file = tmp_path / "clusters.yaml"
        clusters = msgspec.yaml.decode(file.read_bytes())
        clusters["clusters"]["dead"] = {"primary": {}, "repository": repository}
        file.write_bytes(msgspec.yaml.encode(clusters))
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        process = start(["status", "--limit", "1", "--config", str(file)], **keys)
        # Its own attempts would take minutes.
        output, errors = process.communicate(timeout=45)
    assert (process.returncode, errors) == (2, "")
    assert "dead: the state is unknown: The repository s3://bucket/dead did not answer within 1 s." in output
    assert [line.split()[:2] for line in output.splitlines()[2:4]] == [["dead", "critical"], ["good", "ok"]]


def start(arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "airflow_restore_replay.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )


def test_a_held_cluster_says_by_which_verdict(fleet: dict[str, Member], tmp_path: Path) -> None:
    held = fleet["fresh"].verdict(timedelta(minutes=5), Outcome.HELD, reason="the primary lost rows")
    text = run(tmp_path, "--cluster", "fresh", exit_code=2).stdout
    assert f"critical: on hold by verdict {held.verdict_id}: the primary lost rows" in text


def test_a_cluster_with_a_mistake_is_critical_and_stops_no_other(
    fleet: dict[str, Member], tmp_path: Path
) -> None:
    config = tmp_path / "clusters.yaml"
    config.write_text(
        config.read_text().replace("clusters:", "clusters:\n  wrong: {primary: {hots: db1}}", 1)
    )
    found = {state["cluster"]: state for state in as_json(tmp_path, exit_code=2)}
    assert found["fresh"]["severity"] == "ok"
    assert found["wrong"]["severity"] == "critical"
    assert "clusters.wrong.primary.hots" in found["wrong"]["error"]["message"]
    one = run(tmp_path, "--cluster", "wrong", exit_code=3)
    assert "clusters.wrong.primary.hots" in one.stdout
    metrics = CliRunner().invoke(cli, ["metrics", "--config", str(config)])
    assert 'restore_replay_up{cluster="wrong"} 0' in metrics.stdout
    assert 'restore_replay_up{cluster="fresh"} 1' in metrics.stdout
