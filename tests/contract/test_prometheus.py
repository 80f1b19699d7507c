"""What a real Prometheus makes of the metrics, the alert rules and the queries of the dashboard."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.config.cluster import load_clusters
from airflow_restore_replay.core.fleet.fleet import Fleet
from airflow_restore_replay.core.fleet.metrics import METRICS, PREFIX, metrics_text
from airflow_restore_replay.core.repository.format.records import Outcome
from airflow_restore_replay.core.repository.objects.lease_objects import Doing
from tests.support.fleets import Member, make_fleet
from tests.support.prometheus import Prometheus, promtool

SHIPPED = resources.files("airflow_restore_replay.monitoring")
RULES = Path(str(SHIPPED / "alerts.yaml"))
HOUR = timedelta(hours=1)
#: a point in time in a rule's test, whose clock begins at 0
EVERY = "1m"
LONG = 3000


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a cluster file: a cluster of which everything is known, and some that are not well."""
    root = tmp_path_factory.mktemp("fleet")
    members = make_fleet(root, ["full", "old", "held", "gone"], drill={"rto_target": "10s"})
    _know_everything(members["full"])
    members["old"].cycle(60 * HOUR)
    members["held"].cycle(HOUR)
    members["held"].verdict(HOUR / 2, Outcome.HELD, reason="the primary lost rows")
    shutil.rmtree(root / "gone")
    return root


def _know_everything(full: Member) -> None:
    notes = {"kept_logs": {"keep_s": 864000.0}}
    coverage = {"coverage": {"cycles": 3, "since": "2026-11-28T03:00:00+00:00"}}
    phases = {"plan": 1.0, "restore": 40.0, "replay": 20.0, "start_restored": 2.0}
    for age in (26, 2):
        made = full.cycle(age * HOUR, notes=notes, compared=coverage)
    drilled = {
        "backup_id": made.backup_id,
        "wanted": "latest",
        "phases": phases,
        "bytes": 100,
        "transactions": 10,
    }
    full.verdict(HOUR, Outcome.RESTORED, attempt="drill", step="drill", measured={"drill": drilled})
    full.archived(timedelta(seconds=30))
    full.repository.log_lease.acquire("archive/run", 600)
    lease = full.repository.lease
    epoch = lease.acquire("dag/run", 600)
    lease.doing = Doing(
        step="replay.catch_up", phase="catching up", done=1, total=2, unit="transactions", eta_s=9.0
    )
    lease.renew("dag/run", epoch)


def test_promtool_accepts_the_metrics_and_the_rules(fleet: Path) -> None:
    states = Fleet(load_clusters(fleet / "clusters.yaml").values()).states()
    assert promtool("check", "metrics", text=metrics_text(states)) == ""
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@dataclass(frozen=True)
class Case:
    """A rule with series that make it fire, and series that do not.

    :param fires, quiet: metric without prefix → value, which may be an expression of promtool's series notation.
    """

    alert: str
    fires: dict[str, str]
    quiet: dict[str, str]
    severity: str = "warning"


AGED = {"max_age_seconds": "3600"}
CASES = (
    Case(
        "BackupTooOld",
        AGED | {"backup_timestamp_seconds": "0"},
        AGED | {"backup_timestamp_seconds": "177000"},
        "critical",
    ),
    Case("NoHealthyBackup", {"healthy_backups": "0"}, {"healthy_backups": "1"}, "critical"),
    Case("OnHold", {"holds": "1"}, {"holds": "0"}, "critical"),
    Case("RepositoryUnreadable", {"up": "0"}, {"up": "1"}, "critical"),
    Case(
        "NotEvaluated",
        {"evaluated_timestamp_seconds": "0"},
        {"evaluated_timestamp_seconds": "179000"},
        "critical",
    ),
    Case("NoMetrics", {"holds": "0"}, {"up": "1"}, "critical"),
    Case("LastRunFailed", {"last_run_failed": "1"}, {"last_run_failed": "0"}),
    Case("RunDied", {"run_died": "1"}, {"run_died": "0"}),
    Case(
        "NotProven",
        AGED | {"proof_timestamp_seconds": "0"},
        AGED | {"proof_timestamp_seconds": "171000"},
    ),
    Case(
        "RtoAboveTarget",
        {"rto_forecast_seconds": "601", "rto_target_seconds": "600"},
        {"rto_forecast_seconds": "600", "rto_target_seconds": "600"},
    ),
    Case(
        "LogsPurgedSoon",
        AGED | {"logs_purge_timestamp_seconds": "180060"},
        AGED | {"logs_purge_timestamp_seconds": "190000"},
    ),
    Case(
        "ArchiveBehind",
        {"archive_current_timestamp_seconds": "0", "archiver_up": "1"},
        # Without an archiver, the archive is as old as the last cycle.
        {"archive_current_timestamp_seconds": "0"},
        "critical",
    ),
    Case("ArchiverDied", {"archiver_up": "0"}, {"archiver_up": "1"}),
    Case("ArchiveGap", {"archive_gaps": "1"}, {"archive_gaps": "0"}),
    Case("UnreadableRecords", {"unreadable_records": "2"}, {"unreadable_records": "0"}),
)


def test_each_rule_has_a_case() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [f"RestoreReplay{case.alert}" for case in CASES]
    named = {metric.full_name for metric in METRICS}
    for rule in group["rules"]:
        assert set(re.findall(rf"{PREFIX}\w+", rule["expr"])) <= named


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_a_rule_fires_when_it_should(case: Case, tmp_path: Path) -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    rule = next(r for r in group["rules"] if r["alert"] == f"RestoreReplay{case.alert}")
    # Only this rule counts: the series of a case may make others fire.
    only = tmp_path / "rules.yaml"
    only.write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule | {"annotations": {}}]}]}))
    labels = {"severity": case.severity}
    fired = {"exp_labels": labels if case.alert == "NoMetrics" else labels | {"cluster": "orders"}}
    tests = [
        {
            "interval": EVERY,
            "input_series": [
                {"series": f'{PREFIX}{name}{{cluster="orders"}}', "values": f"{value}x{LONG}"}
                for name, value in series.items()
            ],
            "alert_rule_test": [
                {
                    "eval_time": f"{LONG}m",
                    "alertname": rule["alert"],
                    "exp_alerts": [fired] if expected else [],
                }
            ],
        }
        for series, expected in ((case.fires, True), (case.quiet, False))
    ]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(only)], "evaluation_interval": EVERY, "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", file)


@pytest.fixture(scope="module")
def prometheus(fleet: Path) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the fleet and evaluated the rules."""
    exporter = subprocess.Popen(
        [sys.executable, "-m", "airflow_restore_replay.cli.main", "metrics", "--listen", "0"]
        + ["--interval", "1", "--config", str(fleet / "clusters.yaml")],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert exporter.stderr
        match = re.search(r"http://([^/\s]+)/metrics", exporter.stderr.readline())
        assert match
        with Prometheus(match[1], RULES) as server:
            while not server.query('ALERTS{cluster="full"}'):
                time.sleep(0.2)
            yield server
    finally:
        exporter.kill()
        exporter.wait()


def test_prometheus_scrapes_the_exporter_as_openmetrics(prometheus: Prometheus) -> None:
    up = {s["metric"]["cluster"]: s["value"][1] for s in prometheus.query("restore_replay_up")}
    assert up == {"full": "1", "old": "1", "held": "1", "gone": "0"}
    (target,) = prometheus.api("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    (described,) = prometheus.api("metadata", metric="restore_replay_max_age_seconds").values()
    assert described[0]["type"] == "gauge"
    assert described[0]["unit"] == "seconds"


def test_prometheus_evaluates_the_rules(prometheus: Prometheus) -> None:
    (group,) = prometheus.api("rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    alerts = {(s["metric"]["alertname"], s["metric"].get("cluster")) for s in prometheus.query("ALERTS")}
    assert ("RestoreReplayBackupTooOld", "old") in alerts
    assert ("RestoreReplayOnHold", "held") in alerts
    assert ("RestoreReplayRepositoryUnreadable", "gone") in alerts
    assert ("RestoreReplayRtoAboveTarget", "full") in alerts


def queries() -> list[tuple[str, str]]:
    """Return title of the panel and query, for every query of the dashboard."""
    dashboard = json.loads((SHIPPED / "dashboard.json").read_text())
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_query_of_the_dashboard_is_answered(prometheus: Prometheus) -> None:
    """Each query is one, and finds something; what compares with 0 may find nothing to show."""
    for title, query in queries():
        found: list[Any] = prometheus.query(query.replace("$cluster", ".*"))
        assert found or " > 0" in query, (title, query)
    named = {metric.full_name for metric in METRICS}
    used = {name for _, query in queries() for name in re.findall(rf"{PREFIX}\w+", query)}
    assert used <= named
