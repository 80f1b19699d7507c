"""Where restores on nodes go, what travels to them, and which nodes the reaper leaves alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.decoding import convert, encode, plain
from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.jobs.protocol import RunRef, Secrets
from airflow_restore_replay.core.recovery.copy_server import CopyRequest
from airflow_restore_replay.core.recovery.order import Order, passwords_of
from airflow_restore_replay.core.recovery.selection import Selection
from airflow_restore_replay.core.recovery.session import Wish
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.repository.store.environment import credentials_of_environment
from airflow_restore_replay.core.runtime.nodes import create_node, reap
from airflow_restore_replay.core.runtime.process import ProcessRuntime
from airflow_restore_replay.core.runtime.recovery import Place, recovery_request

PASSWORDS = {"into": "secret-of-into", "source": "secret-of-source"}


def cluster(tmp_path: Path, **node: Any) -> Cluster:
    section = {
        "primary": {},
        "repository": {"url": "s3://bucket/orders"},
        "node": {"workdir": str(tmp_path / "nodes"), **node},
    }
    return parse_clusters({"clusters": {"orders": section}})["orders"]


def docker(tmp_path: Path) -> Cluster:
    return cluster(tmp_path, runtime="docker", image="node", workdir="/var/lib/restore-replay")


def test_x1_passwords_do_not_travel_with_the_order() -> None:
    source, into = (Endpoint(host=name, password=PASSWORDS[name]) for name in ("source", "into"))
    only = Selection.of("shop.a,shop.b", None)
    wish = Wish(
        Path("/srv/a"), only=only, copy=CopyRequest(port=1, source=source), into=into, dump=Path("/b")
    )
    order = Order.of(wish, backup_id="x")
    assert b"secret" not in encode(order)
    secrets = Secrets(servers=passwords_of(wish))
    assert (secrets.servers, repr(secrets)) == (PASSWORDS, "Secrets(…)")
    back = convert(plain(order), Order).wish(Path("/srv/a"), secrets.servers)
    assert (back.copy, back.into, back.dump, str(back.only)) == (wish.copy, into, wish.dump, "shop.a,shop.b")


@pytest.mark.parametrize(
    "target", ["volume:", "volume:a", "volume:/etc", "volume:a b", "volume:-rf", "/srv/a", ""]
)
def test_docker_restores_into_named_volumes_only(tmp_path: Path, target: str) -> None:
    with pytest.raises(PreflightFailed):
        Place.of(docker(tmp_path), target)
    assert Place.of(docker(tmp_path), "volume:data_1").volume == "data_1"


def test_a_host_restores_into_directories_only(tmp_path: Path) -> None:
    ours = cluster(tmp_path)
    assert Place.of(ours, "/srv/a").directory == "/srv/a"
    for target in ("volume:data", "srv/a"):
        with pytest.raises(PreflightFailed):
            Place.of(ours, target)
    request = recovery_request(ours, "restore/a", release="", volume="data")
    with pytest.raises(PreflightFailed, match="for node.runtime docker"):
        ProcessRuntime(ours.node.workdir).create(request)


@pytest.mark.parametrize("how", [{"copy": CopyRequest()}, {"dump": "/a"}, {"into": Endpoint()}])
def test_a_volume_takes_no_server(tmp_path: Path, how: dict[str, Any]) -> None:
    with pytest.raises(PreflightFailed, match="ends with the container"):
        Place.of(docker(tmp_path), "volume:data").refuse(Order(target="/a", **how))
    Place.of(cluster(tmp_path), "/srv/a").refuse(Order(target="/srv/a", **how))


def test_a_cycle_leaves_the_node_of_a_restore_until_it_expires(tmp_path: Path) -> None:
    ours = cluster(tmp_path)
    runtime = ProcessRuntime(ours.node.workdir)
    restoring = runtime.create(recovery_request(ours, "restore/a", release=""))
    create_node(runtime, ours, RunRef(run="first", attempt="replay", lease_epoch=1), key="first")
    node = create_node(runtime, ours, RunRef(run="second", attempt="replay", lease_epoch=2), key="second")
    assert {n["node_id"] for n in runtime.nodes()} == {restoring.node_id, node.node_id}
    assert set(reap(runtime, cluster="orders", keep_run="")) == {restoring.node_id, node.node_id}
    expired = runtime.create(recovery_request(ours, "restore/b", release=""))
    later = utc_now() + timedelta(days=30)
    assert reap(runtime, cluster="orders", keep_run="x", keep_restores=True, now=later) == [expired.node_id]


def test_credentials_of_the_environment_go_with_a_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    found = {"access_key_id": "id", "secret_access_key": "key"}
    assert credentials_of_environment("s3://bucket/orders") == found
    assert credentials_of_environment("file:///srv") == {}
