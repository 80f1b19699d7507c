"""``node list`` and ``node reap`` on real node directories."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.cluster import Cluster, load_clusters
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import RunRef
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.runtime.nodes import create_node
from airflow_restore_replay.core.runtime.opening import get_runtime
from tests.unit.cli.conftest import Shop


@pytest.fixture
def workdir(shop: Shop, tmp_path: Path) -> Path:
    path = tmp_path / "nodes"
    shop.config.write_text(shop.config.read_text() + f"    node: {{workdir: '{path}'}}\n")
    return path


def create(shop: Shop, attempt: str, *, expired: bool = False) -> str:
    cluster: Cluster = load_clusters(shop.config)["orders"]
    run = RunRef(run="cli/one", attempt=attempt, lease_epoch=1)
    handle = create_node(get_runtime(cluster), cluster, run, key=attempt)
    if expired:
        with NodeDir(Path(handle.workdir) / handle.node_id).changing() as state:
            state.expires_at = utc_now() - timedelta(seconds=1)
    return handle.node_id


@pytest.mark.usefixtures("workdir")
def test_list_shows_nodes_with_phase_and_run(shop: Shop) -> None:
    assert "No replay nodes" in shop.run("node", "list").stdout
    node_id = create(shop, "replay")
    text = shop.run("node", "list").stdout
    assert node_id in text
    assert "cli/one" in text
    assert shop.json("node", "list")["nodes"][0]["phase"] == "empty"


def test_reap_removes_only_expired_nodes(shop: Shop, workdir: Path) -> None:
    live = create(shop, "replay")
    dead = create(shop, "full", expired=True)
    assert shop.json("node", "reap", "--dry-run") == {"would_reap": [dead]}
    assert (workdir / dead).exists()
    assert shop.json("node", "reap") == {"reaped": [dead]}
    assert [p.name for p in workdir.iterdir()] == [live]


def test_reap_by_id_and_all(shop: Shop, workdir: Path) -> None:
    first, second = create(shop, "replay"), create(shop, "full")
    assert shop.json("node", "reap", first) == {"reaped": [first]}
    assert shop.json("node", "reap", "--all") == {"reaped": [second]}
    assert not workdir.exists()


@pytest.mark.usefixtures("workdir")
def test_cleared_task_replaces_its_node(shop: Shop, workdir: Path) -> None:
    cluster = load_clusters(shop.config)["orders"]
    run = RunRef(run="a_dag/a_run", attempt="replay", lease_epoch=1)
    runtime = get_runtime(cluster)
    first, other = (create_node(runtime, cluster, run, key=key) for key in ("task/0", "other/0"))
    second = create_node(runtime, cluster, run, key="task/1", replaces=["task/0"])
    assert first.node_id != second.node_id
    assert {p.name for p in workdir.iterdir()} == {second.node_id, other.node_id}


def test_reap_of_an_unknown_node_says_so(shop: Shop) -> None:
    assert "no replay node orders-x" in shop.run("node", "reap", "orders-x", exit_code=1).stderr
    shop.run("node", "reap", "orders-x", "--all", exit_code=2)


def test_a_work_directory_that_was_there_stays(shop: Shop, workdir: Path) -> None:
    workdir.mkdir()
    create(shop, "replay")
    shop.run("node", "reap", "--all")
    assert list(workdir.iterdir()) == []


def test_a_made_work_directory_goes_with_its_last_node(shop: Shop, workdir: Path) -> None:
    first, second = create(shop, "replay"), create(shop, "full")
    shop.run("node", "reap", first)
    assert [p.name for p in workdir.iterdir()] == [second]
    shop.run("node", "reap", second)
    assert not workdir.exists()
    assert workdir.parent.exists()
