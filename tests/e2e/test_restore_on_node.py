"""Restores and drills by a job where nodes live: over SSH here, in tests/contract/runtime in Docker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.jobs.protocol import JobState, RunRef
from airflow_restore_replay.core.recovery.measurements import measured_of
from airflow_restore_replay.core.runtime.nodes import create_node
from airflow_restore_replay.core.runtime.opening import get_runtime
from airflow_restore_replay.core.system.processes import running
from tests.support.archives import archive_logs
from tests.support.flavors import Kit, on_either
from tests.support.primary import BACKUP_PASSWORD, ROOT_PASSWORD
from tests.support.process_list import ProcessListWatch
from tests.support.restores import Restores, query, started_by_hand, stopped, wait_for
from tests.support.rig import Rig, processes_in
from tests.support.seeding import seeded_copy
from tests.support.sshd import Sshd

#: of an account that nothing else on the machine uses
LOADER_PASSWORD = "loader-secret-41c7"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd.start(tmp_path_factory.mktemp("on-node") / "sshd")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, kit: Kit, sshd: Sshd) -> Iterator[Rig]:
    """A cluster with nodes over SSH, a backup, and archived logs from after it."""
    node = {**sshd.node_section, "python": sys.executable}
    made = seeded_copy(kit, tmp_path_factory.mktemp("over-ssh"), {"node": node})
    try:
        made.primary.execute(
            "CREATE TABLE shop.later (id INT PRIMARY KEY) ENGINE=InnoDB",
            "INSERT INTO shop.later VALUES (1), (2)",
        )
        archive_logs(made.repository(), made.primary)
        yield made
    finally:
        made.primary.discard()


@pytest.fixture
def restores(rig: Rig, tmp_path: Path) -> Iterator[Restores]:
    made = Restores(rig, tmp_path)
    yield made
    made.end()
    assert not rig.workdir.exists()


def words(restores: Restores, *given: str | Path, **overrides: Any) -> list[str]:
    """Return the whole command of a restore that is to be watched while it runs."""
    config = restores.root / "clusters.yaml"
    config.write_text(yaml.safe_dump({"clusters": {"orders": restores.rig.section(**overrides)}}))
    command = [sys.executable, "-m", "airflow_restore_replay.cli.main", "restore", "--config", str(config)]
    return [*command, "--on-node", *map(str, given)]


def server_in(target: Path) -> bool:
    """Return whether a server of the restore runs."""
    return any("--datadir=" in line for line in processes_in(target))


@on_either
def test_x1_a_server_runs_on_a_backup_on_the_nodes_host(rig: Rig, restores: Restores) -> None:
    target = restores.root / "copy"
    plan = restores.json("--on-node", "--to", target, "--start", "--dry-run")
    assert (plan["target"], target.exists()) == (str(target), False)
    with ProcessListWatch((BACKUP_PASSWORD,)) as watch:
        answer = restores.json("--on-node", "--to", target, "--start")
    assert (watch.looks > 10, watch.leaks) == (True, set())
    copy = answer["running"]
    assert not rig.workdir.exists()
    assert query(copy["commands"]["connect"], "SELECT COUNT(*) FROM shop.orders") == [["20000"]]
    assert "A server runs" in restores.refused("--on-node", "--to", target, "--force")
    stopped(copy["pid"], copy["commands"]["stop"])


@on_either
def test_a_moment_on_the_nodes_host_has_what_the_primary_has(rig: Rig, restores: Restores) -> None:
    target, before = restores.root / "latest", len(measured_of(rig.catalog()))
    plan = restores.json("--on-node", "--to", target, "--latest", "--start", "--dry-run")
    assert (plan["wanted"], plan["target"], target.exists()) == ("latest", str(target), False)
    answer = restores.json("--on-node", "--to", target, "--latest", "--start")
    assert (answer["wanted"], answer["fell_back"]) == ("latest", {})
    assert answer["position"] == plan["position"]
    assert query(answer["running"]["commands"]["connect"], "SELECT COUNT(*) FROM shop.later") == [["2"]]
    stopped(answer["running"]["pid"], answer["running"]["commands"]["stop"])
    measured = measured_of(rig.catalog())
    assert (len(measured), measured[-1].kind, measured[-1].wanted) == (before + 1, "restore", "latest")
    assert measured[-1].phases.keys() >= {"plan", "restore", "replay", "start_restored"}


def test_a_broken_data_directory_there_becomes_the_data_of_a_moment(rig: Rig, restores: Restores) -> None:
    target, before = restores.root / "broken", len(measured_of(rig.catalog()))
    restores.json("--to", target)
    (table,) = (target / "shop").glob("orders.ibd")
    table.write_bytes(b"broken" * 1000)
    in_place = ("--on-node", "--to", target, "--latest", "--in-place")
    assert "was not confirmed" in restores.refused(*in_place)
    plan = restores.json(*in_place, "--dry-run")
    assert "old state" in [finding["name"] for finding in plan["findings"]]
    assert table.read_bytes() == b"broken" * 1000
    answer = restores.json(*in_place, "--yes")
    assert answer["fetched_bytes"] < answer["bytes"]
    with started_by_hand(answer["commands"]):
        connect = answer["commands"]["connect"]
        assert query(connect, "SELECT COUNT(*) FROM shop.later", password=ROOT_PASSWORD) == [["2"]]
        assert query(connect, "SELECT COUNT(*) FROM shop.orders", password=ROOT_PASSWORD) == [["20000"]]
    # Of the two, only the first one counts.
    assert len(measured_of(rig.catalog())) == before + 1


def test_the_printed_commands_start_what_was_restored_there(rig: Rig, restores: Restores) -> None:
    answer = restores.json("--on-node", "--to", restores.root / "files")
    with started_by_hand(answer["commands"]):
        asked = query(
            answer["commands"]["connect"], "SELECT COUNT(*) FROM shop.orders", password=ROOT_PASSWORD
        )
        assert asked == [["20000"]]


def test_x1_a_table_goes_from_the_nodes_host_into_a_living_server(rig: Rig, restores: Restores) -> None:
    rig.primary.execute(
        f"CREATE USER loader@'%' IDENTIFIED BY '{LOADER_PASSWORD}'", "GRANT ALL ON *.* TO loader@'%'"
    )
    server = f"loader@127.0.0.1:{rig.primary.port}"
    with ProcessListWatch((LOADER_PASSWORD,)) as watch:
        answer = restores.json(
            *("--on-node", "--tables", "shop.notes", "--into", server, "--as", "shop.notes_restored"),
            stdin=f"{LOADER_PASSWORD}\n",
        )
    assert (watch.looks > 10, watch.leaks) == (True, set())
    assert [table["into"] for table in answer["loaded"]] == ["shop.notes_restored"]
    rig.primary.execute("DROP TABLE shop.notes_restored", "DROP USER loader@'%'")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--to", "relative"], "not an absolute path"),
        (["--to", "volume:data"], "for node.runtime docker; that of orders is ssh"),
        (["--to", "/", "--in-place"], "was not confirmed"),
        (["--to", "{root}/full"], "is not empty"),
        (["--to", "{root}/full", "--latest"], "is not empty"),
        (["--to", "{root}/new", "--backup", "nothing"], "no readable backup nothing"),
        (["--to", "{root}/new", "--at", "1999-01-01 00:00Z"], "1999"),
    ],
)
def test_what_cannot_be_restored_there_is_refused_before_anything_is_written(
    restores: Restores, given: list[str], says: str
) -> None:
    (restores.root / "full").mkdir(mode=0o700)
    (restores.root / "full" / "mine").touch()
    named = [word.format(root=restores.root) for word in given]
    assert says in restores.refused("--on-node", *named)
    assert [p.name for p in (restores.root / "full").iterdir()] == ["mine"]
    assert not (restores.root / "new").exists()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_running_and_the_same_command_continues(
    rig: Rig, restores: Restores, sign: signal.Signals
) -> None:
    target = restores.root / "copy"
    argv = words(restores, "--to", target, "--latest")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: server_in(target))
        process.send_signal(sign)
        assert process.wait(120) == 130
    assert processes_in(restores.root) == []
    assert not rig.workdir.exists()
    answer = restores.json("--on-node", "--to", target, "--latest")
    assert answer["resumed"]


def test_a_job_whose_command_was_killed_goes_on_and_the_same_command_waits_for_it(
    rig: Rig, restores: Restores
) -> None:
    target = restores.root / "copy"
    slow: dict[str, Any] = {"transfer": {"rate_limit": "2MiB"}}
    argv = words(restores, "--to", target, **slow)
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: list(rig.workdir.glob("*/jobs/*.json")))
        process.kill()
    assert "Another restore of" in restores.refused("--on-node", "--to", target, "--latest", **slow)
    # A cycle that begins meanwhile removes nodes of other cycles only.
    runtime = get_runtime(rig.cluster())
    node = create_node(runtime, rig.cluster(), RunRef(run="a", attempt="replay", lease_epoch=1), key="a")
    runtime.destroy(node)
    (job,) = rig.workdir.glob("*/jobs/*.json")
    assert running(decode(job.read_bytes(), JobState).process)
    answer = restores.json("--on-node", "--to", target, **slow)
    assert (answer["target"], answer["resumed"]) == (str(target), False)


def test_a_job_that_is_killed_leaves_no_server(rig: Rig, restores: Restores) -> None:
    target = restores.root / "copy"
    argv = words(restores, "--to", target, "--latest")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: server_in(target))
        (state,) = rig.workdir.glob("*/jobs/*.json")
        os.kill(decode(state.read_bytes(), JobState).process.pid, signal.SIGKILL)
        assert "is gone without a result" in process.communicate(timeout=120)[1]
        assert process.returncode == 1
    wait_for(lambda: not server_in(target))
    assert restores.json("--on-node", "--to", target, "--latest")["resumed"]


def test_a_drill_on_the_nodes_host(rig: Rig, restores: Restores) -> None:
    config = restores.root / "clusters.yaml"
    config.write_text(yaml.safe_dump({"clusters": {"orders": rig.section()}}))
    command = [sys.executable, "-m", "airflow_restore_replay.cli.main", "drill", "--on-node", "--latest"]
    subprocess.run([*command, "--config", str(config)], check=True, capture_output=True)
    assert measured_of(rig.catalog())[-1].kind == "drill"
    assert not rig.workdir.exists()
