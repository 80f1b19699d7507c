"""What only Docker has: images that must suit, a hardened container, labels, engines of others."""

from __future__ import annotations

import base64
import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.errors import (
    Blame,
    ConfigInvalid,
    NodeUnreachable,
    PreflightFailed,
    ReleaseRefused,
    WrongHost,
)
from airflow_restore_replay.core.jobs.protocol import NodeHandle, NodeRequest, RunRef
from airflow_restore_replay.core.runtime import engine, remote
from airflow_restore_replay.core.runtime.base import NodeAccess, Runtime, get_runtime
from airflow_restore_replay.core.runtime.client import NodeClient
from airflow_restore_replay.core.steps import create_node, reap
from tests.contract.runtime.kits import DockerKit
from tests.contract.runtime.test_jobs import SLOW, cycle, in_each_job, something_to_replay
from tests.support.flavors import KITS as FLAVORS
from tests.support.rig import Once, Rig
from tests.support.unpacked import without

RUN = RunRef(run="a_dag/a_run", attempt="replay", lease_epoch=1)
PASSWORD = "told-to-nobody"

pytestmark = pytest.mark.parametrize("kit", ["docker"], indirect=True)


@pytest.fixture(autouse=True)
def _nothing_left(kit: DockerKit, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(remote, "_PAUSES_S", (0.05, 0.05))
    yield
    assert kit.left(None) == []  # type: ignore[arg-type]


def cluster(kit: DockerKit, name: str = "orders", **node: Any) -> Cluster:
    section = {"primary": {}, **kit.section()}
    section["node"] = {**section["node"], **node}
    return parse_clusters({"clusters": {name: section}})[name]


def create(kit: DockerKit, *, release: str = "", **node: Any) -> tuple[Runtime, NodeHandle]:
    chosen = cluster(kit, **node)
    runtime = get_runtime(chosen)
    return runtime, create_node(runtime, chosen, RUN, key="task", release=release)


def build(kit: DockerKit, tag: str, *instructions: str) -> str:
    """:returns: *tag*, an image made from the nodes' one."""
    text = "\n".join(["FROM restore-replay-node-mariadb:10.11", *instructions])
    command = ["docker", "build", "--quiet", "--tag", tag, "-"]
    environment = {
        "DOCKER_HOST": kit.engine.url,
        "DOCKER_BUILDKIT": "0",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    subprocess.run(command, input=text.encode(), env=environment, check=True, capture_output=True)
    return tag


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


def test_the_image_is_the_backups(kit: DockerKit) -> None:
    template = "restore-replay-node-{flavor}:{series}"
    runtime, handle = create(kit, image=template, release="10.11.2")
    seen = kit.engine.client().inspect_container(f"restore-replay-{handle.node_id}")
    assert seen["Config"]["Image"] == "restore-replay-node-mariadb:10.11"
    runtime.destroy(handle)
    with pytest.raises(ConfigInvalid, match="nobody said which"):
        create(kit, image=template)
    with pytest.raises(ConfigInvalid, match="is not a name with"):
        create(kit, image="node:{relase}", release="10.11.2")


def test_what_does_not_suit_is_refused_before_anything_starts(kit: DockerKit) -> None:
    with pytest.raises(ReleaseRefused, match=r"older than the backup's 11\.8\.3"):
        create(kit, release="11.8.3")
    other = build(kit, "other-flavor:1", "LABEL restore-replay.flavor=mysql")
    with pytest.raises(PreflightFailed, match="has a server of mysql; the cluster is mariadb"):
        create(kit, image=other)
    as_root = build(kit, "as-root:1", "USER root")
    with pytest.raises(PreflightFailed, match="as-root:1 runs as root"):
        create(kit, image=as_root)
    with pytest.raises(PreflightFailed, match="no image 127.0.0.1:1/none:1 and cannot pull it"):
        create(kit, image="127.0.0.1:1/none:1")
    with pytest.raises(PreflightFailed, match="network nowhere not found"):
        create(kit, network="nowhere")


def test_a_registrys_account_is_used_to_pull_and_kept_in_memory(kit: DockerKit) -> None:
    asked: list[str] = []

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path.split('?')[0]} {self.headers.get('Authorization', '')}")
            self.send_response(200 if self.path == "/v2/" else 404)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        registry = f"127.0.0.1:{server.server_port}"
        access = NodeAccess(registry=registry, user="ci", password=PASSWORD)
        chosen = cluster(kit, image=f"{registry}/node:1")
        with pytest.raises(PreflightFailed, match="cannot pull it") as raised:
            create_node(get_runtime(chosen, access), chosen, RUN, key="task")
        server.shutdown()
    basic = base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
    assert f"/v2/ Basic {basic}" in asked
    assert any(line.startswith("/v2/node/manifests/1") for line in asked)
    assert PASSWORD not in str(raised.value)


def test_an_image_without_our_agent_says_so(kit: DockerKit) -> None:
    broken = build(kit, "broken:1", "ENV PATH=/usr/bin:/bin")
    with pytest.raises(remote.AgentMissing, match="cannot run this package's agent"):
        create(kit, image=broken)


def test_an_engine_wants_to_know_us(kit: DockerKit) -> None:
    runtime = get_runtime(cluster(kit, tls_ca=None, tls_cert=None, tls_key=None))
    with pytest.raises(NodeUnreachable, match="the Docker engine tcp://127.0.0.1"):
        runtime.nodes()


def test_an_engine_that_is_gone_and_comes_back(kit: DockerKit) -> None:
    runtime, handle = create(kit)
    kit.engine.gate.shut()
    with pytest.raises(NodeUnreachable):
        NodeClient(runtime, handle).status("a key")
    kit.engine.gate.open()
    assert [node["node_id"] for node in runtime.nodes()] == [handle.node_id]
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
    monkeypatch.delitem(sys.modules, engine.__name__)
    with pytest.raises(PreflightFailed, match=r"pip install 'airflow-restore-replay\[docker\]'"):
        importlib.import_module(engine.__name__)


def test_a_probe_names_engine_image_and_server(kit: DockerKit) -> None:
    found = get_runtime(cluster(kit)).probe(None)
    assert "image restore-replay-node-mariadb:10.11. Host " in found
    assert "mariadb server 10.11." in found
    assert "depends on the backup" in get_runtime(cluster(kit, image="node:{version}")).probe(None)


def test_half_a_node_of_a_broken_create_goes_with_it(kit: DockerKit) -> None:
    runtime = get_runtime(cluster(kit))
    with pytest.raises(Exception, match="primary"):
        runtime.create(NodeRequest(node_id="orders-1", run=RUN, cluster={"primary": 7}))
    assert runtime.nodes() == []


def test_o2_a_killed_container_costs_a_retry(rig: Rig, kit: DockerKit) -> None:
    """In restore, in the midst of replay, and while the stopped server's files are copied."""
    something_to_replay(rig)
    steps = ("replay.restore", "replay.catch_up", "replay.snapshot")
    published = cycle(rig, in_each_job(rig, lambda: kit.kill_node(rig), *steps))
    rig.restores(published)


def test_o2_a_container_killed_in_validate_blames_no_backup(rig: Rig, kit: DockerKit) -> None:
    """Its server had replayed with durability off: what it holds is worth nothing any more."""
    killer = Once("replay.validate", "", lambda: kit.kill_node(rig))
    report = rig.cycle(watch=killer, **SLOW)
    assert killer.done
    if report.failure is not None:  # else it was killed after the last look at the server
        assert report.failure.blame is Blame.ENVIRONMENT
    assert rig.verdicts_against() == []


@pytest.mark.skipif(without("mysql"), reason="RR_WITHOUT=mysql")
def test_mysql_in_a_container(kit: DockerKit, tmp_path: Path) -> None:
    """A fresh full by CLONE, and a backup that is its replay."""
    kit.engine.provide("mysql")
    primary = FLAVORS["mysql"].start(tmp_path / "primary")
    try:
        section = kit.section()
        section["node"] |= {"image": "restore-replay-node-{flavor}:{version}", "bindir": None}
        rig = Rig(primary, tmp_path, section, store=kit.store)
        first = rig.full(seed={"method": "clone"})
        primary.execute("UPDATE shop.orders SET total = total + 1 WHERE id < 100")
        second = rig.published(rig.cycle())
        assert rig.catalog().backup(second).manifest.base.backup_id == first
        rig.restores(second)
    finally:
        primary.stop()
