"""Nodes come, are seen, are asked, and go; faults X3, X5. No server is started here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.errors import NodeGone, ProtocolMismatch, RestoreReplayError
from airflow_restore_replay.core.flavor.findings import Severity
from airflow_restore_replay.core.jobs.protocol import (
    PROTOCOL_VERSION,
    NodeHandle,
    NodeRequest,
    RunRef,
    Secrets,
)
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.runtime.base import Runtime
from airflow_restore_replay.core.runtime.client import NodeClient
from airflow_restore_replay.core.runtime.nodes import create_node, reap
from airflow_restore_replay.core.runtime.opening import get_runtime
from tests.contract.runtime.kits import RuntimeKit
from tests.support.rig import Rig

RUN = RunRef(run="a_dag/a_run", attempt="replay", lease_epoch=1)


class Place:
    """A cluster without a primary, and its runtime."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.cluster: Cluster = parse_clusters({"clusters": {"orders": rig.section()}})["orders"]
        self.runtime: Runtime = get_runtime(self.cluster)

    def create(self, key: str, run: str = RUN.run) -> NodeHandle:
        return create_node(
            self.runtime, self.cluster, RunRef(run=run, attempt="replay", lease_epoch=1), key=key
        )

    def ids(self) -> list[str]:
        return sorted(str(node["node_id"]) for node in self.runtime.nodes())


class _NoPrimary:
    port, flavor, bindir = 1, "mariadb", None


@pytest.fixture
def place(kit: RuntimeKit, tmp_path: Path) -> Iterator[Place]:
    place = Place(Rig(_NoPrimary(), tmp_path, kit.section()))  # type: ignore[arg-type]
    yield place
    assert kit.left(place.rig) == []


def test_a_node_is_created_once_and_destroyed_twice(place: Place, kit: RuntimeKit) -> None:
    handle = place.create("task")
    assert place.create("task") == handle
    assert (handle.runtime, handle.cluster) == (kit.name, "orders")
    (seen,) = place.runtime.nodes()
    assert (seen["node_id"], seen["cluster"], seen["run"]) == (handle.node_id, "orders", RUN.run)
    assert (seen["phase"], seen["job"], seen["host"]) == ("empty", "", handle.host)
    assert seen["disk_bytes"] >= 0
    place.runtime.destroy(handle)
    assert place.runtime.nodes() == []
    place.runtime.destroy(handle)


def test_x3_nobody_else_can_look_into_a_node(place: Place, kit: RuntimeKit) -> None:
    handle = place.create("task")
    assert kit.modes(place.rig) == {"0o700"}
    place.runtime.destroy(handle)


def test_a_destroyed_node_is_gone_and_says_what_to_do(place: Place) -> None:
    handle = place.create("task")
    place.runtime.destroy(handle)
    with pytest.raises(NodeGone, match="clear the run from create_node"):
        NodeClient(place.runtime, handle).status("a key")


def test_another_release_is_refused_before_anything_is_made(place: Place) -> None:
    request = NodeRequest(
        node_id="orders-1", run=RUN, cluster=cast(Cluster, {}), protocol=PROTOCOL_VERSION + 1
    )
    with pytest.raises(ProtocolMismatch):
        place.runtime.create(request)
    assert place.runtime.nodes() == []


def test_half_a_node_never_stays(place: Place) -> None:
    with pytest.raises(RestoreReplayError):
        place.runtime.create(NodeRequest(node_id="orders-1", run=RUN, cluster=cast(Cluster, {"primary": 7})))
    assert place.runtime.nodes() == []


def test_a_lost_connection_is_made_again(place: Place, kit: RuntimeKit) -> None:
    handle = place.create("task")
    for _ in range(3):
        kit.break_connection()
        assert place.ids() == [handle.node_id]
    kit.break_connection()
    place.runtime.destroy(handle)


def test_reaping_by_age_by_run_and_by_id(place: Place) -> None:
    kept, lost = place.create("task/kept"), place.create("task/lost")
    later = utc_now() + timedelta(seconds=place.cluster.node.max_age + 60)
    assert reap(place.runtime, now=utc_now()) == []
    assert sorted(reap(place.runtime, now=later, dry_run=True)) == sorted([kept.node_id, lost.node_id])
    assert reap(place.runtime, node_ids=[lost.node_id]) == [lost.node_id]
    assert reap(place.runtime, cluster="other", keep_run="") == []
    with pytest.raises(ValueError, match="needs a cluster"):
        reap(place.runtime, keep_run="")
    next_run = place.create("task/next", run="a_dag/next_run")
    assert place.ids() == [next_run.node_id]
    assert reap(place.runtime, now=later) == [next_run.node_id]
    assert place.runtime.nodes() == []


def test_a_place_for_nodes_is_probed(place: Place) -> None:
    assert "mariadb server 1" in place.runtime.probe(place.cluster.node.bindir)


def test_what_a_cycle_needs_is_asked_where_its_node_would_live(place: Place, kit: RuntimeKit) -> None:
    found = place.runtime.examine_cluster(place.cluster, Secrets(store=kit.store))
    assert found[0].subject == "primary"
    assert found[0].severity is Severity.REFUSED
    assert [f.name for f in found if f.subject == "node" and f.severity is Severity.REFUSED] == []
    assert {f.subject for f in found} == {"primary", "node", "store"}
    assert not place.rig.workdir.exists()


def test_x5_words_with_meaning_to_a_shell_are_inert(kit: RuntimeKit, tmp_path: Path) -> None:
    """In the one field that may hold any text: the directory."""
    name = "nodes $(touch pwned) `touch pwned`; touch pwned & 'a' \"b\" \\ *"
    workdir = f"{kit.directory(tmp_path)}/{name}"
    rig = Rig(_NoPrimary(), tmp_path, kit.section())  # type: ignore[arg-type]
    section = rig.section()
    section["node"]["workdir"] = workdir
    place = Place(Rig(_NoPrimary(), tmp_path, section))  # type: ignore[arg-type]
    handle = place.create("task")
    assert place.ids() == [handle.node_id]
    assert handle.workdir == workdir
    place.runtime.destroy(handle)
    assert not [*tmp_path.rglob("pwned"), *Path.cwd().glob("pwned"), *Path.home().glob("pwned")]
    assert kit.left(rig) == []
