"""What only Docker has: images that must suit, a hardened container, labels, engines of others."""

from __future__ import annotations

import getpass
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.errors import (
    AgentFailed,
    Blame,
    ConfigInvalid,
    EngineFailed,
    HostKeyRefused,
    NodeUnreachable,
    PreflightFailed,
    WrongHost,
)
from airflow_restore_replay.core.jobs.protocol import NodeHandle, NodeRequest
from airflow_restore_replay.core.runtime import remote
from airflow_restore_replay.core.runtime.client import NodeClient
from airflow_restore_replay.core.runtime.container import ContainerTransport
from airflow_restore_replay.core.runtime.engine import Engine
from airflow_restore_replay.core.runtime.images import image_name
from airflow_restore_replay.core.runtime.nodes import reap
from airflow_restore_replay.core.runtime.opening import get_runtime
from tests.contract.runtime.docker_clusters import PASSWORD, RUN, cluster, create
from tests.contract.runtime.kits import DockerKit
from tests.contract.runtime.test_jobs import SLOW, SLOWER, cycle, in_each_job, something_to_replay
from tests.support.rig import Once, Rig
from tests.support.sshd import Sshd

pytestmark = [
    pytest.mark.parametrize("kit", ["docker"], indirect=True),
    pytest.mark.usefixtures("nothing_left"),
]


def test_the_container_can_do_little_and_shows_no_secret(
    kit: DockerKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", PASSWORD)
    runtime, handle = create(kit, memory="512MiB", cpus=0.5)
    seen = kit.engine.client().inspect_container(f"restore-replay-{handle.node_id}")
    host = seen["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"]) == (True, ["ALL"], None)
    assert (host["SecurityOpt"], host["Privileged"]) == (["no-new-privileges"], False)
    assert (host["PortBindings"], seen["NetworkSettings"]["Ports"]) in (({}, {}), (None, {}))
    assert (host["Memory"], host["NanoCpus"]) == (512 * 1024 * 1024, 500_000_000)
    assert seen["Config"]["User"] == "10001:10001"
    assert PASSWORD not in str(seen)
    runtime.destroy(handle)


def test_labels_tell_what_no_agent_can(kit: DockerKit) -> None:
    runtime, handle = create(kit)
    client = kit.engine.client()
    client.kill(f"restore-replay-{handle.node_id}")
    (killed,) = runtime.nodes()
    assert (killed["node_id"], killed["run"], killed["phase"]) == (handle.node_id, RUN.run, "exited")
    client.remove_container(f"restore-replay-{handle.node_id}")
    (half,) = runtime.nodes()
    assert (half["node_id"], half["cluster"], half["phase"]) == (handle.node_id, "orders", "no container")
    assert reap(runtime, cluster="orders", keep_run="a_dag/next_run") == [handle.node_id]


def test_a_killed_container_is_started_again(kit: DockerKit) -> None:
    runtime, handle = create(kit)
    kit.engine.client().kill(f"restore-replay-{handle.node_id}")
    assert b'"phase":"empty"' in runtime.ask(handle, "describe", b"")
    runtime.destroy(handle)


def test_other_clusters_are_seen_and_other_projects_are_not(kit: DockerKit) -> None:
    runtime, handle = create(kit)
    other = get_runtime(cluster(kit, "customers"))
    assert [node["cluster"] for node in other.nodes()] == ["orders"]
    assert get_runtime(cluster(kit, project="staging")).nodes() == []
    runtime.destroy(handle)


@pytest.mark.parametrize("way", ["unix", "environment", "ssh"])
def test_other_ways_to_an_engine(
    kit: DockerKit, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else here is TCP with TLS."""
    no_tls: dict[str, Any] = dict.fromkeys(("tls_ca", "tls_cert", "tls_key"))
    with ExitStack() as cleanup:
        if way == "unix":
            address: str | None = kit.engine.url
        elif way == "environment":
            address = None
            monkeypatch.setenv("DOCKER_HOST", kit.engine.url)
        else:
            sshd = Sshd.start(tmp_path / "sshd", DOCKER_HOST=kit.engine.url)
            cleanup.callback(sshd.stop)
            address = f"ssh://{getpass.getuser()}@127.0.0.1:{sshd.gate.port}"
            (tmp_path / ".ssh").mkdir()
            (tmp_path / ".ssh" / "config").write_text(f"IdentityFile {sshd.root}/key\n")
            monkeypatch.setenv("HOME", str(tmp_path))
            with pytest.raises(HostKeyRefused, match="known_hosts"):
                get_runtime(cluster(kit, engine=address, **no_tls)).nodes()
            (tmp_path / ".ssh" / "known_hosts").write_bytes(sshd.known_hosts.read_bytes())
        runtime, handle = create(kit, engine=address, **no_tls)
        assert b'"phase":"empty"' in runtime.ask(handle, "describe", b"")
        runtime.destroy(handle)
        assert runtime.nodes() == []


def test_an_engine_wants_to_know_us(kit: DockerKit) -> None:
    runtime = get_runtime(cluster(kit, tls_ca=None, tls_cert=None, tls_key=None))
    with pytest.raises(EngineFailed, match="the Docker engine tcp://127.0.0.1"):
        runtime.nodes()


def test_an_engine_that_is_gone_and_comes_back(kit: DockerKit) -> None:
    runtime, handle = create(kit)
    kit.engine.gate.shut()
    with pytest.raises(NodeUnreachable):
        NodeClient(runtime, handle).status("a key")
    kit.engine.gate.open()
    assert [node["node_id"] for node in runtime.nodes()] == [handle.node_id]
    runtime.destroy(handle)


def test_answer_of_an_engine_is_not_taken_for_its_absence(
    kit: DockerKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conflict: the container that has the network does not run."""
    client, image = (
        kit.engine.client(),
        image_name(str(cluster(kit).node.image), flavor="mariadb", release=""),
    )
    client.create_container(image, name="never-started")
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    try:
        with pytest.raises(EngineFailed, match="cannot join network of a non running container"):
            create(kit, network="container:never-started")
        assert pauses == []
    finally:
        client.remove_container("never-started")


def test_x30_answer_without_an_end_is_refused(kit: DockerKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_ANSWER_LIMIT_BYTES", 1_000_000, raising=False)
    runtime, handle = create(kit)
    name = f"restore-replay-{handle.node_id}"
    transport = ContainerTransport(Engine(cluster(kit).node), name)
    with pytest.raises(AgentFailed, match=f"output of the agent on container {name} is larger than"):
        transport.run(["yes"], b"", timeout_s=20.0)
    assert transport.run(["sh", "-c", "head -c 9000000 /dev/zero >&2; echo {}"], b"", timeout_s=20.0).stdout
    runtime.destroy(handle)


def test_another_engine_is_not_taken_for_a_lost_node(kit: DockerKit) -> None:
    runtime = get_runtime(cluster(kit))
    elsewhere = NodeHandle(
        node_id="orders-1",
        runtime="docker",
        cluster="orders",
        workdir="/var/lib/restore-replay",
        host="docker2",
    )
    with pytest.raises(WrongHost, match="lives on the engine of docker2"):
        runtime.ask(elsewhere, "describe", b"")
    with pytest.raises(WrongHost, match="lives on the engine of docker2"):
        runtime.destroy(elsewhere)


def test_what_a_container_cannot_see_is_refused(kit: DockerKit, tmp_path: Path) -> None:
    section = {"primary": {}, "repository": {"url": f"file://{tmp_path}"}, "node": kit.section()["node"]}
    with pytest.raises(ConfigInvalid, match="is a directory of this host"):
        get_runtime(parse_clusters({"clusters": {"orders": section}})["orders"])
    with pytest.raises(ConfigInvalid, match="it must be /var/lib/restore-replay or below"):
        get_runtime(cluster(kit, workdir="/srv"))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"image": None}, "image is missing"),
        ({"engine": "docker1:2376"}, "node.engine"),
        ({"memory": "64MiB", "buffer_pool": "64MiB"}, "memory must be more than buffer_pool"),
        ({"tls_key": None}, "go together"),
        ({"runtime": "process"}, "only with runtime docker"),
        ({"project": "x; touch pwned"}, "node.project"),
        ({"host": "db1"}, "only with runtime ssh"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(kit: DockerKit, node: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message):
        cluster(kit, **node)


def test_without_the_extra_it_says_which(kit: DockerKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    for name in ("docker", "container", "engine"):
        monkeypatch.delitem(sys.modules, f"airflow_restore_replay.core.runtime.{name}", raising=False)
    with pytest.raises(PreflightFailed, match=r"pip install 'airflow-restore-replay\[docker\]'"):
        get_runtime(cluster(kit))


def test_a_probe_names_engine_image_and_server(kit: DockerKit) -> None:
    found = get_runtime(cluster(kit)).probe(None)
    assert "image restore-replay-node-mariadb:10.11. Host " in found
    assert "mariadb server 10.11." in found
    assert "depends on the backup" in get_runtime(cluster(kit, image="node:{version}")).probe(None)


def test_half_a_node_of_a_broken_create_goes_with_it(kit: DockerKit) -> None:
    runtime = get_runtime(cluster(kit))
    with pytest.raises(Exception, match="primary"):
        runtime.create(NodeRequest(node_id="orders-1", run=RUN, cluster=cast(Cluster, {"primary": 7})))
    assert runtime.nodes() == []


def test_o2_a_killed_container_costs_a_retry(rig: Rig, kit: DockerKit) -> None:
    """In restore, during replay, and while the stopped server's files are copied."""
    something_to_replay(rig)
    steps = ("replay.restore", "replay.catch_up", "replay.snapshot")
    published = cycle(rig, in_each_job(rig, lambda: kit.kill_node(rig), *steps), **SLOWER)
    rig.restores(published)


def test_o2_a_container_killed_in_validate_blames_no_backup(rig: Rig, kit: DockerKit) -> None:
    """Its server had replayed with durability off: what it holds is worth nothing any more."""
    killer = Once("replay.validate", "", lambda: kit.kill_node(rig))
    report = rig.cycle(watch=killer, **SLOW)
    assert killer.done
    if report.failure is not None:  # else it was killed after the last look at the server
        assert report.failure.blame is Blame.ENVIRONMENT
    assert rig.verdicts_against() == []
