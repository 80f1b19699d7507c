"""What the tour's socket proxy lets through is what our client writes, to the letter. tests/compose asks the proxy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.config.cluster import Cluster, load_clusters
from airflow_restore_replay.core.runtime.container import ContainerTransport
from airflow_restore_replay.core.runtime.docker import DockerRuntime
from tests.support.compose import REPO

TOUR = REPO / "docker" / "tour"


class Told(Exception):
    """A request that was not sent.

    :param url, content: what would have been sent."""

    def __init__(self, url: str, content: str) -> None:
        super().__init__(url)
        self.url = url
        self.content = content


def allowed(name: str, content: str) -> bool:
    """Return whether the proxy's file *name* has a pattern for that."""
    (pattern,) = (TOUR / "haproxy" / name).read_text().splitlines()
    return re.search(pattern, content) is not None


@pytest.fixture
def cluster() -> Cluster:
    return load_clusters(TOUR / "clusters.yaml")["shop"]


@pytest.fixture
def said(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What our client writes, by the proxy's file for it."""
    import docker

    client = docker.APIClient(base_url="tcp://nowhere:2375", version="1.44")

    def tell(url: str, data: dict[str, Any], **_: Any) -> None:
        raise Told(url, json.dumps({key: value for key, value in data.items() if value is not None}))

    monkeypatch.setattr(client, "_post_json", tell)
    runtime = DockerRuntime(cluster)
    runtime._engine.client = client
    labels = runtime._labels("shop-1f", 'restore_replay_shop/manual__"ü"', "replay", max_age_s=60)
    name, image = "replay-node-shop-1f", "restore-replay-node-mysql:9.7"
    found = {}
    calls: dict[str, Callable[[], object]] = {
        "volume": lambda: client.create_volume(name, labels=labels),
        "container": lambda: client.create_container(
            image,
            ["sleep", "infinity"],
            name=name,
            labels=labels,
            host_config=client.create_host_config(**runtime._limits(name)),
        ),
        "exec": lambda: ContainerTransport(runtime._engine, name)._run(
            ["python3", "-m", "x"], b'{"a": 1}', 1.0
        ),
        "exec-start": lambda: client.exec_start("0" * 64, socket=True),
    }
    for file, call in calls.items():
        with pytest.raises(Told) as told:
            call()
        found[file] = told.value.content
    return found


def test_what_our_client_writes_is_allowed(said: dict[str, str]) -> None:
    assert {name: allowed(name, content) for name, content in said.items()} == dict.fromkeys(said, True)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("container", '"Init": true', '"Init": true, "Privileged": true'),
        ("container", '"ReadonlyRootfs": true, ', ""),
        ("container", '"CapDrop": ["ALL"]', '"CapDrop": ["ALL"], "CapAdd": ["SYS_ADMIN"]'),
        ("container", '"replay-node-shop-1f:/var/lib/restore-replay"', '"/:/var/lib/restore-replay"'),
        (
            "container",
            "replay-node-shop-1f:/var/lib/restore-replay",
            "restore-replay_secrets:/var/lib/restore-replay",
        ),
        ("container", '"restore-replay_nodes"', '"host"'),
        ("container", "restore-replay-node-mysql", "debian"),
        ("container", "}}", '}}, "hostconfig": {"Privileged": true}}'),
        ("container", '"Labels": {', '"Labels": {"x": "", '),
        ("exec", '"Privileged": false', '"Privileged": true'),
        ("exec", '"User": ""', '"User": "0"'),
        ("volume", '"Labels"', '"DriverOpts": {"device": "/"}, "Labels"'),
        ("volume", "replay-node-", "restore-replay_"),
        ("exec-start", "}", '}{"Detach": true}'),
    ],
)
def test_what_says_more_is_not(said: dict[str, str], name: str, old: str, new: str) -> None:
    changed = said[name].replace(old, new)
    assert changed != said[name]
    assert not allowed(name, changed)


def test_every_pattern_is_used_and_spans_the_whole_content() -> None:
    config = (TOUR / "haproxy" / "haproxy.cfg").read_text()
    files = {
        path.name: path.read_text() for path in (TOUR / "haproxy").iterdir() if path.name != "haproxy.cfg"
    }
    assert set(re.findall(r"-f /etc/haproxy/(\S+)", config)) == set(files)
    assert all(
        text.startswith("^") and text.endswith("$\n") and text.count("\n") == 1 for text in files.values()
    )
    rules = re.findall(r"^    http-request (\w+)(.*)$", config, re.MULTILINE)
    assert rules[-1] == ("deny", " deny_status 403")
    for verdict, rest in rules:
        if verdict == "allow":
            assert re.search(r"\{ path -m reg \^\S+\$ \}", rest), rest


def test_the_cluster_file_names_what_the_proxy_allows(cluster: Cluster) -> None:
    assert (cluster.node.project, cluster.node.network) == ("replay-node", "restore-replay_nodes")
    networks = yaml.safe_load((REPO / "docker-compose.yaml").read_text())
    assert f"{networks['name']}_nodes" == cluster.node.network
    assert "nodes" in networks["networks"]
