"""Restores into Docker volumes: a backup and a moment, the commands that are printed, and what is refused."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.runtime.kits import DockerKit
from tests.support.archives import archive_logs
from tests.support.primary import BACKUP_PASSWORD, ROOT_PASSWORD
from tests.support.process_list import ProcessListWatch
from tests.support.restores import Restores, query, wait_for
from tests.support.rig import Rig, processes_in
from tests.support.stores.s3 import CREDENTIALS

pytestmark = pytest.mark.parametrize("kit", ["docker"], indirect=True)


@pytest.fixture
def restores(rig: Rig, kit: DockerKit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Restores]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS["secret_access_key"])
    monkeypatch.setenv("DOCKER_HOST", kit.engine.url)
    (tmp_path / "calls").mkdir()
    yield Restores(rig, tmp_path / "calls")
    client = kit.engine.client()
    assert client.containers(all=True) == []
    for volume in client.volumes()["Volumes"] or []:
        assert volume["Name"] in ("staging", "latest")
        client.remove_volume(volume["Name"])


def test_x1_a_backup_in_a_volume_and_a_server_on_it(rig: Rig, kit: DockerKit, restores: Restores) -> None:
    secrets = (BACKUP_PASSWORD, CREDENTIALS["secret_access_key"])
    with ProcessListWatch(secrets) as watch:
        answer = restores.json("--to", "volume:staging")
    assert (watch.looks > 10, watch.leaks) == (True, set())
    assert (answer["backup_id"], answer["target"]) == (rig.newest, "volume:staging")
    commands = {name: text.replace(" --tty", "") for name, text in answer["commands"].items()}
    subprocess.run(commands["start"], shell=True, check=True, capture_output=True)
    try:
        wait_for(lambda: _answers(commands["connect"]))
        asked = query(commands["connect"], "SELECT COUNT(*) FROM shop.orders", password=ROOT_PASSWORD)
        assert asked == [["20000"]]
        assert "restored-staging uses the volume staging" in restores.refused(
            "--to", "volume:staging", "--force"
        )
    finally:
        subprocess.run(commands["stop"], shell=True, check=True, capture_output=True)
    assert "is not empty" in restores.refused("--to", "volume:staging")


def _answers(connect: str) -> bool:
    words = [word.replace("--password", f"--password={ROOT_PASSWORD}") for word in shlex.split(connect)]
    return subprocess.run([*words, "--execute=SELECT 1"], capture_output=True, check=False).returncode == 0


def test_a_moment_in_a_volume_after_an_interrupt(rig: Rig, kit: DockerKit, restores: Restores) -> None:
    archive_logs(rig.repository(), rig.primary)
    config = restores.root / "clusters.yaml"
    assert "needs a server" in restores.refused("--to", "volume:latest", "--latest", "--start")
    argv = [sys.executable, "-m", "airflow_restore_replay.cli.main", "restore", "--config", str(config)]
    argv += ["--to", "volume:latest", "--latest"]
    inside = Path("/var/lib/restored/.restore-replay")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: any("--datadir=" in line for line in processes_in(inside)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 130
    assert processes_in(inside) == []
    assert kit.engine.client().containers(all=True) == []
    answer = restores.json("--to", "volume:latest", "--latest")
    assert (answer["target"], answer["resumed"], answer["fell_back"]) == ("volume:latest", True, {})


@pytest.mark.parametrize(
    ("target", "says"),
    [("/srv/restored", "gone with the container"), ("volume:../etc", "no name of a Docker volume")],
)
def test_other_places_are_refused(restores: Restores, target: str, says: str) -> None:
    assert says in restores.refused("--on-node", "--to", target)
