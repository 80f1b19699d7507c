"""The shipped DAG with nodes in Docker: images chosen by a release, a registry's account from Airflow."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from airflow_restore_replay.core.config.cluster import load_clusters
from airflow_restore_replay.core.decoding import plain
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.runtime.docker import MOUNT_POINT
from airflow_restore_replay.hooks import ReplayNodeHook
from airflow_restore_replay.hooks.node_connection import node_access
from tests.airflow.support import Shipped
from tests.support.dockerd import Dockerd, node_engine
from tests.support.process_list import ProcessListWatch
from tests.support.rig import SECRETS
from tests.support.stores.s3 import CREDENTIALS
from tests.support.stores.seaweedfs import SeaweedFs

REGISTRY_PASSWORD = "registry-secret-7d1c"


@pytest.fixture(scope="module")
def engine() -> Iterator[Dockerd]:
    with node_engine("mariadb") as engine:
        yield engine


@pytest.fixture(scope="module")
def s3() -> Iterator[SeaweedFs]:
    with SeaweedFs() as server:
        yield server


@pytest.fixture
def in_docker(cycle: Shipped, engine: Dockerd, s3: SeaweedFs, monkeypatch: pytest.MonkeyPatch) -> Shipped:
    registry = {"conn_type": "docker", "host": "registry.example.com", "port": 5000, "login": "ci"}
    monkeypatch.setenv("AIRFLOW_CONN_IMAGES", json.dumps({**registry, "password": REGISTRY_PASSWORD}))
    store = {"login": CREDENTIALS["access_key_id"], "password": CREDENTIALS["secret_access_key"]}
    store_connection = {"conn_type": "restore_replay_repository", **store}
    monkeypatch.setenv("AIRFLOW_CONN_BACKUPS", json.dumps(store_connection))
    spec = s3.spec(s3.new_bucket())
    cycle.configure(
        repository={"url": spec.url, "options": spec.options.given(), "connection": "backups"},
        node={
            **engine.node_section,
            "image": "restore-replay-node-{flavor}:{series}",
            "network": "host",
            "workdir": MOUNT_POINT,
            "connection": "images",
        },
    )
    return cycle


def test_x1_a_full_and_a_replay_in_containers(
    in_docker: Shipped, engine: Dockerd, caplog: pytest.LogCaptureFixture
) -> None:
    """The first image is chosen by the primary's release, the second by the backup's."""
    caplog.set_level(logging.DEBUG)
    secrets = (*SECRETS, *CREDENTIALS.values(), REGISTRY_PASSWORD)
    with ProcessListWatch(secrets) as watch:
        full, replay = in_docker.run(), in_docker.run(deferrable=True)
    assert (full.state, replay.state) == ("success", "success"), (full.errors, replay.errors)
    assert "full.snapshot" in full.of("success")
    assert {"replay.restore_backup", "replay.snapshot"} <= replay.of("success")
    assert replay.results["replay.create_node"]["runtime"] == "docker"
    assert (watch.looks > 10, watch.leaks) == (True, set())
    told = caplog.text + json.dumps([full.results, replay.results])
    assert not any(secret in told for secret in secrets if secret != CREDENTIALS["access_key_id"])
    client = engine.client()
    assert (client.containers(all=True), client.volumes()["Volumes"] or []) == ([], [])


def test_the_connection_is_a_registrys_account(in_docker: Shipped) -> None:
    cluster = load_clusters(in_docker.cluster_file)["orders"]
    hook = ReplayNodeHook(cluster)
    access = node_access(hook.get_connection("images"))
    assert (access.registry, access.user, access.password) == (
        "registry.example.com:5000",
        "ci",
        REGISTRY_PASSWORD,
    )
    assert REGISTRY_PASSWORD not in json.dumps(plain(hook.cluster))
    assert hook.runtime.nodes() == []


def test_a_connection_of_another_type_is_refused(in_docker: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_IMAGES", json.dumps({"conn_type": "ssh", "host": "docker1"}))
    with pytest.raises(ConfigInvalid, match="needs one of the type 'docker'"):
        _ = ReplayNodeHook(load_clusters(in_docker.cluster_file)["orders"]).cluster


def test_a_test_of_primary_and_node_tells_what_is_there(in_docker: Shipped) -> None:
    ok, said = ReplayNodeHook(load_clusters(in_docker.cluster_file)["orders"]).test_connection()
    assert ok, said
    assert "Docker engine " in said
