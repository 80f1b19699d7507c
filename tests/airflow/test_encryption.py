"""Keys from Airflow connections: they reach the node, and nothing else."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from airflow_restore_replay.compat import redacted
from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.decoding import plain
from airflow_restore_replay.core.errors import ConfigInvalid, KeyRefused
from airflow_restore_replay.hooks import ReplayNodeHook, RepositoryConnectionHook, RepositoryHook
from tests.airflow.conftest import HOME, shipped
from tests.airflow.test_connections import connect
from tests.support.keys import NEW, OLD, key_id
from tests.support.mariadb import MariaDbPrimary

OLD_TEXT = base64.b64encode(bytes.fromhex(OLD)).decode()


def cluster_with(**repository: object) -> Cluster:
    section = {"primary": {}, "repository": repository}
    return parse_clusters({"clusters": {"orders": section}})["orders"]


def test_the_shipped_dag_with_a_key_from_a_connection(
    metadata_db: None, primary: MariaDbPrimary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_KEY", json.dumps({"conn_type": "generic", "password": OLD_TEXT}))
    with shipped(tmp_path, primary) as dag:
        dag.configure(repository={"encryption": {"key": {"connection": "orders_key"}}})
        ran = dag.run()
        assert ran.state == "success", ran.errors
        repository = RepositoryHook(_orders(dag.cluster_file)).open()
        (backup,) = repository.catalog().backups
        assert backup.manifest.key_id == repository.key_id == key_id(OLD)
        assert ran.results["published"]["backup_id"] == backup.backup_id
    # What a worker leaves behind: logs, the metadata database with XComs and rendered fields, and the repository.
    looked_at = [p for root in (HOME, tmp_path) for p in root.rglob("*") if p.is_file()]
    assert len(looked_at) > 10
    for path in looked_at:
        data = path.read_bytes()
        assert not any(secret.encode() in data for secret in (OLD, OLD_TEXT)), path


def _orders(path: Path) -> Cluster:
    from airflow_restore_replay.core.config.cluster import load_clusters

    return load_clusters(path)["orders"]


def test_keys_travel_as_secrets_and_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KEYS", json.dumps({"conn_type": "generic", "password": OLD_TEXT}))
    monkeypatch.setenv("NEXT_KEY", NEW)
    encryption = {"key": {"env": "NEXT_KEY"}, "previous": [{"connection": "keys"}]}
    hook = ReplayNodeHook(cluster_with(url="s3://bucket/orders", encryption=encryption))
    assert hook.secrets().keys == (NEW, OLD)
    assert redacted(f"{OLD} {NEW} {OLD_TEXT}") == "*** *** ***"
    assert not any(key in json.dumps(plain(hook.cluster)) for key in (OLD, NEW, OLD_TEXT))


def test_a_connection_without_a_key_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KEYS", json.dumps({"conn_type": "generic", "password": "geheim-9"}))
    cluster = cluster_with(url="s3://bucket/orders", encryption={"key": {"connection": "keys"}})
    with pytest.raises(ConfigInvalid, match="The text in connection keys is not an encryption key") as caught:
        RepositoryHook(cluster).keys()
    assert "geheim-9" not in str(caught.value)


def test_a_repository_connection_may_hold_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/repository"

    def hold(key: str | None) -> None:
        extra = {"url": url} if key is None else {"url": url, "encryption_key": key}
        connect(monkeypatch, "repository", "store", extra=extra)

    def probed() -> tuple[bool, str]:
        ok, said = RepositoryConnectionHook("store").test_connection()
        return bool(ok), str(said)

    hold(OLD_TEXT)
    cluster = cluster_with(connection="store")
    assert RepositoryHook(cluster).open(write=True).key_id == key_id(OLD)
    ok, said = probed()
    assert (ok, f"encrypted with key {key_id(OLD)}" in said) == (True, True), said
    named = cluster_with(url=url, encryption={"key": {"connection": "store"}})
    assert RepositoryHook(named).keys() == (OLD,)
    assert OLD_TEXT not in json.dumps(plain(RepositoryHook(cluster).cluster))

    hold(NEW)
    ok, said = probed()
    assert (ok, "Wrong key" in said, NEW in said) == (False, True, False), said
    assert len(list((tmp_path / "repository" / "keys").iterdir())) == 1, "a test makes no key known"
    hold("not a key")
    ok, said = probed()
    assert (ok, "not an encryption key" in said, "not a key" in said) == (False, True, False), said
    hold(None)
    ok, said = probed()
    assert (ok, "is encrypted, and no key is given here" in said) == (True, True), said
    with pytest.raises(KeyRefused, match="no key is configured"):
        RepositoryHook(cluster).open()
