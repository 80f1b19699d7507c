"""The provider's own connection types: their forms, and tests of a connection that really probe."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.decoding import plain
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.repository.store.local import LocalStore
from airflow_restore_replay.hooks import (
    ReplayNodeConnectionHook,
    ReplayNodeHook,
    RepositoryConnectionHook,
    RepositoryHook,
)
from airflow_restore_replay.provider_info import get_provider_info
from tests.support.stores.s3 import CREDENTIALS
from tests.support.stores.seaweedfs import SeaweedFs
from tests.support.unpacked import programs

TYPES = {t["connection-type"]: t for t in get_provider_info()["connection-types"]}


def connect(monkeypatch: pytest.MonkeyPatch, conn_type: str, conn_id: str, **fields: Any) -> None:
    value = {"conn_type": f"restore_replay_{conn_type}", **fields}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(value))


def probed(conn_type: str, conn_id: str) -> tuple[bool, str]:
    """Test the connection as Airflow does: find the hook by the type, make it with the connection's id."""
    path, _, name = TYPES[f"restore_replay_{conn_type}"]["hook-class-name"].rpartition(".")
    kind = getattr(import_module(path), name)
    ok, said = kind(**{kind.conn_name_attr: conn_id}).test_connection()
    return ok, said


def cluster_with(**section: Any) -> Cluster:
    return parse_clusters({"clusters": {"orders": {"primary": {}, **section}}})["orders"]


@pytest.fixture(scope="module")
def s3() -> Iterator[SeaweedFs]:
    with SeaweedFs() as server:
        yield server


@pytest.mark.parametrize("hook", [RepositoryConnectionHook, ReplayNodeConnectionHook])
def test_the_form_and_the_hook_agree(hook: type[Any]) -> None:
    declared = TYPES[hook.conn_type]
    assert declared["hook-class-name"] == f"{hook.__module__}.{hook.__name__}"
    assert declared["hook-name"] == hook.hook_name
    fields, behaviour = declared["conn-fields"], declared["ui-field-behaviour"]
    standard = {"host", "port", "schema", "login", "password", "extra"}
    assert set(behaviour["placeholders"]) <= set(fields) | standard - set(behaviour["hidden-fields"])
    assert all({"label", "description", "schema"} == set(field) for field in fields.values())


def test_what_is_secret_is_a_password_field() -> None:
    fields = TYPES["restore_replay_repository"]["conn-fields"]
    assert fields["session_token"]["schema"]["format"] == "password"
    secret = [name for name, field in fields.items() if "format" in field["schema"]]
    assert secret == ["encryption_key", "session_token", "sas_token"]
    assert TYPES["restore_replay_repository"]["ui-field-behaviour"]["relabeling"]["password"]


def test_airflow_takes_the_forms() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    for name, declared in TYPES.items():
        hook = declared["hook-class-name"]
        manager._add_widgets("airflow-restore-replay", hook, name, declared["conn-fields"])
    assert "extra__restore_replay_repository__url" in manager._connection_form_widgets
    assert "extra__restore_replay_node__workdir" in manager._connection_form_widgets


def test_repository_on_s3(monkeypatch: pytest.MonkeyPatch, s3: SeaweedFs) -> None:
    bucket = s3.new_bucket()
    extra = {"url": f"s3://{bucket}/orders", "endpoint": s3.endpoint, "region": "us-east-1"}
    keys = {"login": CREDENTIALS["access_key_id"], "password": CREDENTIALS["secret_access_key"]}
    connect(monkeypatch, "repository", "store", **keys, extra=extra)
    ok, said = probed("repository", "store")
    assert ok, said
    assert "conditional create and read work; there is no repository yet" in said
    hook = RepositoryHook(cluster_with(repository={"connection": "store"}))
    assert b"probe.json" not in s3.raw("GET", f"/{bucket}")
    hook.open(write=True)
    ok, said = probed("repository", "store")
    assert (ok, "the repository of cluster 'orders' has 0 backups" in said) == (True, True), said
    assert CREDENTIALS["secret_access_key"] not in said


def test_repository_in_a_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connect(monkeypatch, "repository", "store", extra={"url": f"file://{tmp_path}/repository"})
    ok, said = probed("repository", "store")
    assert (ok, "no repository yet" in said) == (True, True), said
    assert list((tmp_path / "repository").rglob("*.json")) == []


@pytest.mark.parametrize("there", [False, True])
def test_store_that_replaces_objects_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
) -> None:
    connect(monkeypatch, "repository", "store", extra={"url": f"file://{tmp_path}/repository"})
    if there:
        RepositoryHook(cluster_with(repository={"connection": "store"})).open(write=True)

    def replaces(store: LocalStore, path: str, data: bytes) -> None:
        target = tmp_path / "repository" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    monkeypatch.setattr(LocalStore, "put_new", replaces)
    ok, said = probed("repository", "store")
    assert (ok, "replaced an existing object" in said) == (False, True), said


def test_store_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    connect(monkeypatch, "repository", "store", extra={"url": f"file://{tmp_path}/file/repository"})
    assert probed("repository", "store")[0] is False
    connect(monkeypatch, "repository", "empty")
    ok, said = probed("repository", "empty")
    assert (ok, "has no URL" in said) == (False, True)


def test_node_tells_host_releases_and_space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connect(monkeypatch, "node", "node", extra={"workdir": str(tmp_path / "nodes")})
    ok, said = probed("node", "node")
    assert ok, said
    assert said.startswith(f"Host {socket.gethostname()}: mariadb server 1")
    assert "mariadb-backup" in said
    assert f"free in {tmp_path}/nodes." in said
    assert not (tmp_path / "nodes").exists()


def test_node_of_another_flavor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    extra = {"workdir": str(tmp_path / "nodes"), "bindir": programs("mysql")}
    connect(monkeypatch, "node", "node", extra=extra)
    ok, said = probed("node", "node")
    assert ok, said
    assert said.startswith(f"Host {socket.gethostname()}: mysql server 9.")
    assert "mariadb" not in said


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"workdir": "/proc/nowhere"}, "cannot be written"),
        ({"workdir": "WORKDIR", "bindir": "/nonexistent"}, "mariadbd is not installed in /nonexistent"),
        ({}, "has no work directory"),
    ],
)
def test_node_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, extra: dict[str, str], why: str
) -> None:
    settled = {key: value.replace("WORKDIR", str(tmp_path)) for key, value in extra.items()}
    connect(monkeypatch, "node", "node", extra=settled)
    ok, said = probed("node", "node")
    assert (ok, why in said) == (False, True), said


def test_a_cluster_names_its_connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    extra = {"url": f"file://{tmp_path}/repository", "session_token": "token-7"}
    connect(monkeypatch, "repository", "store", login="id-7", password="geheim-7", extra=extra)
    connect(monkeypatch, "node", "host", extra={"workdir": str(tmp_path / "nodes"), "bindir": "/opt/bin"})
    cluster = cluster_with(repository={"connection": "store"}, node={"connection": "host", "queue": "db1"})
    resolved = ReplayNodeHook(cluster).cluster
    assert resolved.repository.url == f"file://{tmp_path}/repository"
    assert (resolved.node.workdir, resolved.node.bindir) == (f"{tmp_path}/nodes", "/opt/bin")
    assert (resolved.node.queue, resolved.node.connection) == ("db1", None)
    assert RepositoryHook(cluster).credentials() == {
        "access_key_id": "id-7",
        "secret_access_key": "geheim-7",
        "session_token": "token-7",
    }
    assert "geheim-7" not in json.dumps(plain(resolved))
    assert "token-7" not in json.dumps(plain(resolved))


def test_secrets_of_a_repository_connection_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_restore_replay.compat import redacted

    extra = {"url": "s3://b/orders", "session_token": "token-masked-8"}
    connect(monkeypatch, "repository", "store", login="id", password="geheim-masked-8", extra=extra)
    RepositoryHook(cluster_with(repository={"connection": "store"})).credentials()
    assert redacted("geheim-masked-8 and token-masked-8") == "*** and ***"


def test_no_url_anywhere_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps({"conn_type": "aws"}))
    with pytest.raises(ConfigInvalid, match=r"Neither clusters\.orders\.repository nor connection 'store'"):
        RepositoryHook(cluster_with(repository={"connection": "store"})).open()
