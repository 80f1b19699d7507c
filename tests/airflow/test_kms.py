"""Data keys that a KMS unwraps with the credentials of Airflow connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_restore_replay.compat import redacted
from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.decoding import plain
from airflow_restore_replay.core.errors import ConfigInvalid, KeyRefused
from airflow_restore_replay.core.repository.key_sources import WrappedKeys
from airflow_restore_replay.hooks import ReplayNodeHook, RepositoryHook
from tests.support.kms import MotoKms, OpenBao
from tests.support.stores.moto import Moto
from tests.support.stores.s3 import CREDENTIALS


@pytest.fixture(scope="module")
def openbao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="module")
def moto_kms() -> Iterator[MotoKms]:
    with Moto() as server, MotoKms(server) as kms:
        yield kms


def connect(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KMS", json.dumps(fields))


def cluster_with(root: Path, source: dict[str, Any]) -> Cluster:
    repository = {"url": f"file://{root}/repository", "encryption": {"key": source}}
    return parse_clusters({"clusters": {"orders": {"primary": {}, "repository": repository}}})["orders"]


def made(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> str:
    """Make the data key as a person does on the command line, which does not see the connection."""
    encryption = cluster.repository.encryption
    assert encryption
    with monkeypatch.context() as mine:
        for name, value in variables.items():
            mine.setenv(name, value)
        return WrappedKeys.of(cluster, encryption.key).new().text


def test_a_connection_of_vault(openbao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = openbao.new_key()
    cluster = cluster_with(tmp_path, openbao.source(key, connection="kms"))
    data_key = made(cluster, monkeypatch, openbao.variables)
    token = openbao.token(f"transit/decrypt/{key}")
    connect(monkeypatch, conn_type="vault", host="127.0.0.1", port=openbao.port, password=token)
    assert ReplayNodeHook(cluster).secrets().keys == (data_key,)
    assert redacted(f"{token} {data_key}") == "*** ***"
    assert not any(secret in json.dumps(plain(cluster)) for secret in (token, data_key))
    # The address of the connection serves where the cluster file has none.
    encryption = cluster.repository.encryption
    assert encryption
    assert encryption.key.vault
    vault = msgspec.structs.replace(encryption.key.vault, address="")
    bare = cluster_with(tmp_path, {"vault": plain(vault)})
    assert RepositoryHook(bare).open(write=True).key_id == RepositoryHook(bare).open().key_id


def test_a_connection_of_vault_without_a_right(
    openbao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = cluster_with(tmp_path, openbao.source(openbao.new_key(), connection="kms"))
    made(cluster, monkeypatch, openbao.variables)
    token = openbao.token()
    connect(monkeypatch, conn_type="vault", password=token)
    with pytest.raises(KeyRefused, match="403") as caught:
        RepositoryHook(cluster).keys()
    assert token not in str(caught.value)
    connect(monkeypatch, conn_type="vault", password="x", extra={"auth_type": "approle"})
    with pytest.raises(ConfigInvalid, match="auth_type approle"):
        RepositoryHook(cluster).keys()
    connect(monkeypatch, conn_type="vault", host="vault.example", schema="http", password=token)
    bare = cluster_with(tmp_path, {"vault": {"key": "orders", "connection": "kms"}})
    with pytest.raises(ConfigInvalid, match="must begin with https://"):
        RepositoryHook(bare).keys()


@pytest.mark.parametrize("role", [False, True])
def test_a_connection_of_amazon(
    role: bool, moto_kms: MotoKms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = cluster_with(tmp_path, moto_kms.source(moto_kms.new_key(), connection="kms"))
    data_key = made(cluster, monkeypatch, moto_kms.variables)
    for name in moto_kms.variables:
        monkeypatch.delenv(name, raising=False)
    extra: dict[str, Any] = {"region_name": "us-east-1"}
    if role:
        arn = "arn:aws:iam::123456789012:role/backup"
        extra |= {"role_arn": arn, "service_config": {"sts": {"endpoint_url": moto_kms.endpoint}}}
    secret = CREDENTIALS["secret_access_key"]
    connect(monkeypatch, conn_type="aws", login=CREDENTIALS["access_key_id"], password=secret, extra=extra)
    assert RepositoryHook(cluster).keys() == (data_key,)
    assert redacted(f"{secret} {data_key}") == "*** ***"
    connect(monkeypatch, conn_type="aws", extra={"endpoint_url": "http://kms.example"})
    bare = cluster_with(tmp_path, {"aws_kms": {"key": "alias/orders", "connection": "kms"}})
    with pytest.raises(ConfigInvalid, match="must begin with https://"):
        RepositoryHook(bare).keys()
