"""Runs what the systemd units start, exactly as they give it, on a real primary.

systemd itself is not started: as the first process it works on the host's own directories. The commands run in the
unit's environment, as the account of this test, and without the unit's restrictions.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from airflow_restore_replay.core.archive.archive import Archive
from tests.e2e.conftest import Seeded
from tests.support.archiving import wait_until
from tests.support.pings import Switch, switch_server
from tests.support.primary import BACKUP_PASSWORD
from tests.support.rig import Rig, copy_repository

TOKEN = "very-secret-77e1"
PROGRAM = Path(sys.executable).parent / "restore-replay"


@pytest.fixture
def switch() -> Iterator[Switch]:
    with switch_server() as server:
        yield server


class Host:
    """A host with units of one cluster, and the secrets in its environment file."""

    def __init__(self, seeded: Seeded, root: Path, switch: Switch) -> None:
        self.rig = Rig(seeded.primary, root)
        copy_repository(seeded.rig, self.rig)
        self.directory, self.config, self.secrets = (
            root / "system",
            root / "clusters.yaml",
            root / "orders.env",
        )
        self.directory.mkdir()
        self.secrets.write_text(
            f"# of systemd only\nPRIMARY_PASSWORD={BACKUP_PASSWORD}\nPING={switch.url(TOKEN)}\n"
        )
        section = self.rig.section(
            primary={"password_env": "PRIMARY_PASSWORD"}, ping={"url_env": "PING"}, archive={"interval": "1s"}
        )
        self.config.write_text(yaml.safe_dump({"clusters": {"orders": section}}))
        account = pwd.getpwuid(os.geteuid()).pw_name
        options = {
            "config": self.config,
            "to": self.directory,
            "user": account,
            "environment-file": self.secrets,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        subprocess.run([str(PROGRAM), "units", *words], check=True, capture_output=True)

    def unit(self, kind: str) -> str:
        return (self.directory / f"restore-replay-{kind}-orders.service").read_text()

    def start(self, kind: str) -> subprocess.Popen[str]:
        """Start a service's command in the environment that systemd would give it."""
        text = self.unit(kind)
        (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
        (file,) = re.findall(r"^EnvironmentFile=-(.*)$", text, re.MULTILINE)
        lines = [
            *re.findall(r"^Environment=(.*)$", text, re.MULTILINE),
            *(line for line in Path(file).read_text().splitlines() if not line.startswith("#")),
        ]
        account = pwd.getpwuid(os.geteuid())
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "HOME": account.pw_dir,
            "USER": account.pw_name,
            **dict(line.strip('"').split("=", 1) for line in lines),
        }
        return subprocess.Popen(
            shlex.split(command),
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def host(seeded: Seeded, tmp_path: Path, switch: Switch) -> Host:
    return Host(seeded, tmp_path, switch)


def test_the_units_commands_check_archive_and_cycle(host: Host, switch: Switch) -> None:
    before = {b.backup_id for b in host.rig.catalog().backups}
    said = []
    for kind in ("freshness", "cycle"):
        service = host.start(kind)
        out, err = service.communicate(timeout=300)
        assert service.returncode == 0, out + err
        said.append(out + err)
    assert switch.calls == [f"/ping/{TOKEN}"]
    assert len(host.rig.catalog().backups) == len(before) + 1
    archiver = host.start("archive")
    try:
        wait_until(lambda: bool(Archive.read(host.rig.repository()).pieces), "something is archived")
    finally:
        archiver.send_signal(signal.SIGTERM)
        out, err = archiver.communicate(timeout=120)
    assert archiver.returncode == 0, out + err
    units = "".join(path.read_text() for path in host.directory.iterdir())
    assert not [secret for secret in (TOKEN, BACKUP_PASSWORD) if secret in "".join([*said, out, err, units])]
    host.rig.assert_no_secret()
    assert [path.name for path in host.rig.workdir.iterdir()] == ["spool"]


def test_a_stale_backup_makes_the_service_fail_and_does_not_ping(host: Host, switch: Switch) -> None:
    clusters = yaml.safe_load(host.config.read_text())
    clusters["clusters"]["orders"]["max_age"] = 0.001
    host.config.write_text(yaml.safe_dump(clusters))
    service = host.start("freshness")
    out, _ = service.communicate(timeout=60)
    assert service.returncode == 2, out
    assert "CRITICAL" in out
    assert switch.calls == []
    assert json.dumps(TOKEN)[1:-1] not in out
