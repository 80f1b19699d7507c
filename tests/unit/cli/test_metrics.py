"""``metrics``: text that Prometheus understands, in a file or by HTTP."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_plain_text

from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.fleet.fleet import Fleet
from airflow_restore_replay.core.fleet.metrics import METRICS, Metric, metrics_text
from airflow_restore_replay.core.repository.format.records import Outcome
from tests.support.fleets import SIZES, Member, make_fleet

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(tmp_path: Path) -> dict[str, Member]:
    """A cluster of which everything is known, an empty one, and one without a repository."""
    members = make_fleet(tmp_path, ["full", "empty", "gone"], drill={"rto_target": "2h"})
    full = members["full"]
    notes = {"kept_logs": {"keep_s": 864000.0}}
    coverage = {"coverage": {"cycles": 3, "since": "2026-11-28T03:00:00+00:00"}}
    for age in (26, 2):
        full.cycle(age * HOUR, notes=notes, compared=coverage)
    full.archived(timedelta(seconds=30))
    full.repository.log_lease.acquire("archive/run", 600)
    full.repository.lease.acquire("dag/run", 600)
    shutil.rmtree(tmp_path / "gone")
    return members


def run(root: Path, *arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["metrics", "--config", str(root / "clusters.yaml"), *arguments])
    assert result.exit_code == exit_code, result.output
    return result


def samples(text: str, cluster: str) -> dict[tuple[str, ...], float]:
    """Return name and other labels → value."""
    return {
        (sample.name, *(v for k, v in sorted(sample.labels.items()) if k != "cluster")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels["cluster"] == cluster
    }


def test_what_is_unknown_has_no_sample(fleet: dict[str, Member], tmp_path: Path) -> None:
    text = run(tmp_path).stdout
    full, empty, gone = (samples(text, name) for name in ("full", "empty", "gone"))
    assert full["restore_replay_logical_bytes",] == SIZES.total_bytes
    assert full["restore_replay_phase_seconds", "catch_up"] == 30
    assert full["restore_replay_verdicts", Outcome.PUBLISHED] == 2
    assert full["restore_replay_archiver_up",] == 1
    assert empty["restore_replay_up",] == 1
    assert empty["restore_replay_healthy_backups",] == 0
    assert not {name for name, *_ in empty} & {
        "restore_replay_backup_timestamp_seconds",
        "restore_replay_logical_bytes",
    }
    assert gone["restore_replay_up",] == 0
    assert {name for name, *_ in gone} == {
        "restore_replay_up",
        "restore_replay_evaluated_timestamp_seconds",
        "restore_replay_evaluation_seconds",
        "restore_replay_findings",
        "restore_replay_max_age_seconds",
    }


def test_the_text_is_openmetrics_and_the_older_format(fleet: dict[str, Member], tmp_path: Path) -> None:
    text = run(tmp_path).stdout
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families.keys() == {metric.full_name for metric in METRICS}
    for metric in METRICS:
        family = families[metric.full_name]
        assert (family.type, family.unit) == ("gauge", metric.unit)
        assert family.documentation.endswith(".")
    plain = {family.name for family in parse_plain_text(text)}
    assert plain == families.keys()


def test_labels_are_escaped(tmp_path: Path) -> None:
    (state,) = Fleet([make_fleet(tmp_path, ["orders"])["orders"].cluster]).states()
    odd = 'a"b\\c\nd'
    metric = Metric("odd", "Says \\ and\nmore.", lambda s: [((("phase", odd),), 1.0)], label="phase")
    original = list(METRICS)
    lines = [line for m in [*original[:1], metric] for line in _family_of(m, state)]
    (_, family) = text_string_to_metric_families("\n".join([*lines, "# EOF", ""]))
    assert family.samples[0].labels == {"cluster": "orders", "phase": odd}
    assert metrics_text([state]).endswith("# EOF\n")


def _family_of(metric: Metric, state: object) -> Iterator[str]:
    from airflow_restore_replay.core.fleet import metrics

    return metrics._family(metric, [state])  # type: ignore[list-item]


def test_a_textfile_is_replaced_at_once(fleet: dict[str, Member], tmp_path: Path) -> None:
    file = tmp_path / "collector" / "restore_replay.prom"
    file.parent.mkdir()
    file.write_text("old")
    before = file.stat().st_ino
    assert run(tmp_path, "--textfile", str(file)).stdout == ""
    assert samples(file.read_text(), "full")["restore_replay_up",] == 1
    assert file.stat().st_ino != before
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert "Cannot write" in run(tmp_path, "--textfile", str(tmp_path / "no" / "x.prom"), exit_code=2).stderr


@contextmanager
def served(root: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_restore_replay.cli.main", "metrics", *arguments]
        + ["--config", str(root / "clusters.yaml")],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stderr
        match = re.search(r"http://\S+", process.stderr.readline())
        assert match
        yield match[0], process
    finally:
        process.kill()
        process.wait()


def test_it_listens_on_this_host_only_and_shows_what_is_new(fleet: dict[str, Member], tmp_path: Path) -> None:
    with served(tmp_path, "--listen", "0", "--interval", "1") as (url, process):
        assert url.startswith("http://127.0.0.1:")
        wanted = {"Accept": "application/openmetrics-text"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=wanted), timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert ("restore_replay_backup_timestamp_seconds",) not in samples(
                answer.read().decode(), "empty"
            )
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url.removesuffix("metrics"), timeout=30)
        fleet["empty"].backup(HOUR)
        while ("restore_replay_backup_timestamp_seconds",) not in samples(_get(url), "empty"):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("address", ["x", "127.0.0.1:x", ":80", "1:99999", "203.0.113.7:9"])
def test_an_address_that_cannot_be_is_refused(fleet: dict[str, Member], tmp_path: Path, address: str) -> None:
    run(tmp_path, "--listen", address, exit_code=2)


def test_rules_and_dashboard_are_printed_without_a_cluster_file() -> None:
    rules = CliRunner().invoke(cli, ["metrics", "--rules"])
    assert rules.exit_code == 0
    assert yaml.safe_load(rules.stdout)["groups"][0]["name"] == "restore-replay"
    dashboard = CliRunner().invoke(cli, ["metrics", "--dashboard"])
    assert yaml.safe_load(dashboard.stdout)["uid"] == "restore-replay"
