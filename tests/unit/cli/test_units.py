"""The systemd units that `units` writes, judged by systemd's own programs where they are installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from click.testing import CliRunner, Result

from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.systemd.calendar import calendar_events
from airflow_restore_replay.core.systemd.texts import FAILED

REPO = Path(__file__).parents[3]
EXAMPLE = REPO / "docs" / "examples" / "restore-replay-archive-orders.service"
#: the worst exposure that `systemd-analyze security` may find; 10 is a service without any restriction
MOST_EXPOSED = {"freshness": 2.5, "archive": 2.5, "cycle": 2.5, "failed": 4.0}

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def configured(path: Path, **section: Any) -> Path:
    cluster = {
        "primary": {"host": "db1.example.com", "password_file": "/etc/restore-replay/primary.password"},
        "repository": {"url": "s3://backups/orders"},
        **section,
    }
    path.mkdir(exist_ok=True)
    config = path / "clusters.yaml"
    config.write_text(yaml.safe_dump({"clusters": {"orders": cluster}}))
    return config


def units(config: Path, *arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(
        cli, ["units", "--config", str(config), "--program", "/usr/bin/true", *arguments]
    )
    assert result.exit_code == exit_code, result.output
    return result


def written(root: Path, **section: Any) -> Path:
    directory = root / "system"
    directory.mkdir()
    units(configured(root, **section), "--to", str(directory))
    return directory


def test_it_writes_a_service_for_each_task_and_timers(tmp_path: Path) -> None:
    directory = written(tmp_path)
    assert sorted(p.name for p in directory.iterdir()) == [
        "restore-replay-archive-orders.service",
        "restore-replay-cycle-orders.service",
        "restore-replay-cycle-orders.timer",
        FAILED,
        "restore-replay-freshness-orders.service",
        "restore-replay-freshness-orders.timer",
    ]
    for path in directory.glob("*orders.service"):
        text = path.read_text()
        assert "ProtectSystem=strict\n" in text
        assert "NoNewPrivileges=true\n" in text
        assert "OnFailure=restore-replay-failed@%n.service\n" in text
        assert "EnvironmentFile=-/etc/restore-replay/orders.env\n" in text
    assert "OnCalendar=*-*-* 03:00:00 UTC\n" in (directory / "restore-replay-cycle-orders.timer").read_text()


def test_a_dry_run_prints_and_writes_nothing(tmp_path: Path) -> None:
    printed = units(configured(tmp_path), "--dry-run", "--to", str(tmp_path / "missing")).output
    assert "ExecStart=/usr/bin/true cycle --cluster orders\n" in printed
    assert not (tmp_path / "missing").exists()


def test_no_schedule_means_no_timer_of_cycles(tmp_path: Path) -> None:
    directory = written(tmp_path, schedule=None)
    assert not (directory / "restore-replay-cycle-orders.timer").exists()


def test_what_others_wrote_or_changed_stays_without_force(tmp_path: Path) -> None:
    directory = written(tmp_path)
    config = tmp_path / "clusters.yaml"
    archive = directory / "restore-replay-archive-orders.service"
    timer = directory / "restore-replay-cycle-orders.timer"
    assert "unchanged" in units(config, "--to", str(directory)).output
    archive.write_text(archive.read_text() + "Nice=10\n")
    configured(tmp_path, schedule="0 5 * * *")
    before = {p: p.read_bytes() for p in directory.iterdir()}
    refused = units(config, "--to", str(directory), exit_code=2)
    assert archive.name in refused.stderr
    assert {p: p.read_bytes() for p in directory.iterdir()} == before, "all or nothing"
    units(config, "--to", str(directory), "--force")
    assert "Nice=10" not in archive.read_text()
    assert "05:00:00" in timer.read_text()


@pytest.mark.parametrize("kind", ["link", "directory", "stranger"])
def test_a_masked_unit_is_not_written_over(tmp_path: Path, kind: str) -> None:
    directory = tmp_path / "system"
    directory.mkdir()
    there = directory / "restore-replay-cycle-orders.timer"
    if kind == "link":
        there.symlink_to("/dev/null")
    elif kind == "directory":
        there.mkdir()
    else:
        there.write_text("[Timer]\n")
    units(configured(tmp_path), "--to", str(directory), exit_code=2)
    assert [p.name for p in directory.iterdir()] == [there.name]


def test_no_secret_is_in_a_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "PING", "PW"):
        monkeypatch.setenv(name, "hunter2")
    config = configured(tmp_path, ping={"url_env": "PING"}, primary={"host": "db1", "password_env": "PW"})
    printed = units(config, "--dry-run").output
    assert "hunter2" not in printed
    assert "freshness --cluster orders --ping\n" in printed


@pytest.mark.parametrize(
    ("section", "kinds", "hint"),
    [
        ({"primary": {"connection": "orders"}}, (), "primary.connection"),
        ({"repository": {"connection": "store"}}, ("--only", "freshness"), "repository.connection"),
    ],
)
def test_a_cluster_that_needs_airflow_is_refused(
    tmp_path: Path, section: dict[str, Any], kinds: tuple[str, ...], hint: str
) -> None:
    assert hint in units(configured(tmp_path, **section), "--dry-run", *kinds, exit_code=2).stderr


def test_freshness_alone_needs_no_primary(tmp_path: Path) -> None:
    config = configured(tmp_path, primary={"connection": "orders"})
    assert "archive" not in units(config, "--dry-run", "--only", "freshness").output.lower().replace(
        "the archive", ""
    )


@pytest.mark.parametrize("bad", ["relative", "/with\nnewline"])
def test_a_path_that_would_break_a_unit_is_refused(tmp_path: Path, bad: str) -> None:
    units(configured(tmp_path), "--dry-run", "--hook", bad, exit_code=2)
    units(configured(tmp_path), "--dry-run", "--user", f"{bad} b", exit_code=2)


def test_only_what_a_service_needs_is_writable(tmp_path: Path) -> None:
    directory = written(
        tmp_path,
        repository={"url": "file:///srv/backups/orders"},
        node={"workdir": "/srv/nodes"},
        archive={"spool": "/home/spool", "keep": "7d"},
    )
    text = {p.name.split("-")[2]: p.read_text() for p in directory.glob("*orders.service")}
    writable = {kind: re.findall(r"^ReadWritePaths=(.*)$", t, re.M) for kind, t in text.items()}
    assert writable == {
        "freshness": [],
        "archive": ["/home/spool", "/srv/backups/orders"],
        "cycle": ["/home/spool", "/srv/backups/orders", "/srv/nodes"],
    }
    assert "ProtectHome=read-only" in text["archive"]
    assert "ProtectHome=true" in text["freshness"] or str(tmp_path).startswith(("/root", "/home"))


def test_the_example_of_the_documents_is_what_is_written(tmp_path: Path) -> None:
    config = "/etc/restore-replay/clusters.yaml"
    from airflow_restore_replay.core.config.cluster import load_clusters
    from airflow_restore_replay.core.systemd.texts import Place, unit_texts
    from airflow_restore_replay.core.systemd.writing import stamped

    cluster = load_clusters(configured(tmp_path))["orders"]
    text = unit_texts(cluster, Place("/opt/restore-replay/bin/restore-replay", config))[EXAMPLE.name]
    if "UPDATE_DOCS" in os.environ:
        EXAMPLE.write_text(stamped(text))
    assert EXAMPLE.read_text() == stamped(text)


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as an account without rights: it only reads."""
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*drop, "systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@needs_systemd
@pytest.mark.parametrize(
    "section",
    [
        {},
        {"repository": {"url": "file:///srv/with space/50%/orders"}, "node": {"workdir": '/srv/it\'s "n"'}},
        {"schedule": "*/20 3,15 1 * mon-fri", "timezone": "Europe/Berlin", "ping": {"url_env": "P"}},
    ],
)
def test_systemd_accepts_the_units(tmp_path: Path, section: dict[str, Any]) -> None:
    directory = written(tmp_path, **section)
    open_to_all(directory)
    for path in sorted(directory.iterdir()):
        name = path.name.replace("@.", "@x.")
        found = systemd_analyze(
            "verify", "--man=no", str(path.with_name(name)) if name == path.name else str(path)
        )
        said = [line for line in found.stderr.splitlines() if str(directory) in line]
        # The account is the host's own affair.
        assert [line for line in said if "user" not in line.lower()] == [], found.stderr


@needs_systemd
def test_the_services_are_hardened(tmp_path: Path) -> None:
    directory = written(tmp_path)
    open_to_all(directory)
    for path in directory.glob("*.service"):
        found = systemd_analyze("security", "--offline=true", "--no-pager", str(path)).stdout
        level = re.search(r"exposure level for \S+: ([\d.]+)", found)
        assert level, found
        assert float(level[1]) <= MOST_EXPOSED[path.name.split("-")[2].split("@")[0]], found


def open_to_all(directory: Path) -> None:
    """Let another account read *directory*, which only its owner may enter."""
    place = Path(os.environ["PYTEST_DEBUG_TEMPROOT"])
    for path in (directory, *directory.parents):
        if path.is_relative_to(place) and path != place:
            path.chmod(path.stat().st_mode | 0o055)


SCHEDULES = [
    "0 3 * * *",
    "*/20 3,15 * * mon-fri",
    "5 4 1,15 * 0",
    "5 4 1-10/3 */2 *",
    "30 2 * jan,jul 7",
    "0 22-23 * * fri-mon",
    "@hourly",
    "@weekly",
    "@quarterly",
    "7/13 * * * *",
    "0 0 */2 * 1",
]


@needs_systemd
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("timezone", ["UTC", "America/New_York"])
def test_a_timer_elapses_when_cron_would(schedule: str, timezone: str) -> None:
    zone = ZoneInfo(timezone)
    start = datetime(2026, 2, 25, 12, 0, 30, tzinfo=zone)
    # Airflow reads cron expressions by it.
    croniter = import_module("croniter").croniter
    times = croniter({"@quarterly": "0 0 1 */3 *"}.get(schedule, schedule), start)
    wanted = [times.get_next(datetime).astimezone(ZoneInfo("UTC")) for _ in range(40)]
    found: set[datetime] = set()
    for event in calendar_events(schedule, timezone):
        base = f"--base-time={start.astimezone(ZoneInfo('UTC')):%Y-%m-%d %H:%M:%S} UTC"
        answer = systemd_analyze("calendar", "--iterations=60", base, event)
        assert answer.returncode == 0, answer.stderr
        stamps = re.findall(r"(?:elapse|#\d+): \w{3} ([\d-]+ [\d:]+) UTC", answer.stdout)
        found |= {datetime.fromisoformat(f"{s}+00:00") for s in stamps}
    assert sorted(found)[: len(wanted)] == wanted


@pytest.mark.parametrize("schedule", ["0 3 l * *", "0 3 15w * *", "0 3 * * mon#2", "0 3 * * l5"])
def test_what_systemd_cannot_say_is_refused(schedule: str) -> None:
    with pytest.raises(ConfigInvalid, match="no equivalent"):
        calendar_events(schedule, "UTC")
