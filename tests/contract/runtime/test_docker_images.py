"""Images of nodes: which one is taken, what is refused before anything starts, MySQL's."""

from __future__ import annotations

import base64
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.errors import (
    AgentMissing,
    ConfigInvalid,
    PreflightFailed,
    ReleaseRefused,
)
from airflow_restore_replay.core.runtime.base import NodeAccess
from airflow_restore_replay.core.runtime.nodes import create_node
from airflow_restore_replay.core.runtime.opening import get_runtime
from tests.contract.runtime.docker_clusters import PASSWORD, RUN, cluster, create
from tests.contract.runtime.kits import DockerKit
from tests.support.dockerd import provide_nodes
from tests.support.flavors import KITS as FLAVORS
from tests.support.rig import Rig
from tests.support.unpacked import without

pytestmark = [
    pytest.mark.parametrize("kit", ["docker"], indirect=True),
    pytest.mark.usefixtures("nothing_left"),
]


def build(kit: DockerKit, tag: str, *instructions: str) -> str:
    """Return *tag*, an image made from the nodes' one."""
    text = "\n".join(["FROM restore-replay-node-mariadb:10.11", *instructions])
    command = ["docker", "build", "--quiet", "--tag", tag, "-"]
    environment = {
        "DOCKER_HOST": kit.engine.url,
        "DOCKER_BUILDKIT": "0",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    subprocess.run(command, input=text.encode(), env=environment, check=True, capture_output=True)
    return tag


def test_the_image_is_the_backups(kit: DockerKit) -> None:
    template = "restore-replay-node-{flavor}:{series}"
    runtime, handle = create(kit, image=template, release="10.11.2")
    seen = kit.engine.client().inspect_container(f"restore-replay-{handle.node_id}")
    assert seen["Config"]["Image"] == "restore-replay-node-mariadb:10.11"
    runtime.destroy(handle)
    with pytest.raises(ConfigInvalid, match="unknown for this node"):
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
            authorization = self.headers.get("Authorization", "")
            asked.append(f"{self.path} {authorization}")
            self.send_response(401 if not authorization else 200 if self.path == "/v2/" else 404)
            self.send_header("WWW-Authenticate", 'Basic realm="images"')
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
    assert f"/v2/node/manifests/1 Basic {basic}" in asked
    assert PASSWORD not in str(raised.value)


def test_an_image_without_our_agent_says_so(kit: DockerKit) -> None:
    broken = build(kit, "broken:1", "ENV PATH=/usr/bin:/bin")
    with pytest.raises(AgentMissing, match="cannot run this package's agent"):
        create(kit, image=broken)


@pytest.mark.skipif(without("mysql"), reason="RR_WITHOUT=mysql")
def test_mysql_in_a_container(kit: DockerKit, tmp_path: Path) -> None:
    """A fresh full by CLONE, and a backup that is its replay."""
    provide_nodes(kit.engine.url, "mysql")
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
