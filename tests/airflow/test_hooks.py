"""Connections become credentials, and only there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.decoding import convert, plain
from airflow_restore_replay.core.errors import ConfigInvalid, PreflightFailed, RestoreReplayError
from airflow_restore_replay.core.jobs.protocol import JobName, RunRef
from airflow_restore_replay.hooks import ReplayNodeHook, RepositoryHook
from tests.support.mariadb import BACKUP_PASSWORD, MariaDbPrimary


def cluster_with(**section: Any) -> Cluster:
    base = {"primary": {}, "repository": {"url": "s3://bucket/orders"}}
    return parse_clusters({"clusters": {"orders": {**base, **section}}})["orders"]


def connection(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def test_store_credentials_come_from_an_amazon_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {
        "aws_session_token": "token-1",
        "endpoint_url": "http://127.0.0.1:9",
        "region_name": "eu-central-1",
    }
    connection(monkeypatch, "store", conn_type="aws", login="id-1", password="key-1", extra=extra)
    repository = {"url": "s3://bucket/orders", "connection": "store", "options": {"region": "local"}}
    assert RepositoryHook(cluster_with(repository=repository)).credentials() == {
        "access_key_id": "id-1",
        "secret_access_key": "key-1",
        "session_token": "token-1",
        "endpoint": "http://127.0.0.1:9",
    }


def test_without_a_connection_the_environment_counts() -> None:
    assert RepositoryHook(cluster_with()).credentials() == {}


def test_a_role_travels_to_where_it_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node assumes it, again and again: a token made here would expire there."""
    arn = "arn:aws:iam::1:role/backup"
    extra = {
        "role_arn": arn,
        "assume_role_kwargs": {"ExternalId": "x-7", "DurationSeconds": 1800},
        "service_config": {
            "sts": {"endpoint_url": "https://sts.example"},
            "s3": {"endpoint_url": "https://s3.example"},
        },
        "endpoint_url": "https://other.example",
        "verify": "/etc/ssl/own.pem",
    }
    connection(monkeypatch, "store", conn_type="aws", login="id-2", password="key-2", extra=extra)
    repository = {"url": "s3://bucket/orders", "connection": "store"}
    found = RepositoryHook(cluster_with(repository=repository)).credentials()
    assert found == {
        "access_key_id": "id-2",
        "secret_access_key": "key-2",
        "role_arn": arn,
        "external_id": "x-7",
        "role_duration": "1800",
        "endpoint": "https://s3.example",
        "sts_endpoint": "https://sts.example",
        "ca_file": "/etc/ssl/own.pem",
    }
    own = {**repository, "options": {"role_arn": "arn:aws:iam::1:role/own"}}
    assert "role_arn" not in RepositoryHook(cluster_with(repository=own)).credentials()


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ({"profile_name": "p"}, "profile_name"),
        (
            {"role_arn": "arn", "assume_role_method": "assume_role_with_saml"},
            "assume_role_method: assume_role_with_saml",
        ),
        ({"verify": False}, "verify: false"),
    ],
)
def test_what_only_the_amazon_provider_can_do_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], what: str
) -> None:
    connection(monkeypatch, "store", conn_type="aws", extra=extra)
    repository = {"url": "s3://bucket/orders", "connection": "store"}
    with pytest.raises(ConfigInvalid, match=f"'store' uses {what}, which a replay node cannot"):
        RepositoryHook(cluster_with(repository=repository)).credentials()


OWN = "restore_replay_repository"
KEY_FILE = {"client_email": "b@example.com", "private_key": "google-key-5e", "private_key_id": "1"}


@pytest.mark.parametrize(
    ("url", "fields", "found"),
    [
        (
            "az://backups/orders",
            {"conn_type": OWN, "login": "acct", "password": "key-a", "extra": {"region": "of no use here"}},
            {"account_name": "acct", "account_key": "key-a"},
        ),
        (
            "az://backups/orders",
            {"conn_type": OWN, "extra": {"account_name": "acct", "sas_token": "sv=1&sig=key-b"}},
            {"account_name": "acct", "sas_token": "sv=1&sig=key-b"},
        ),
        (
            "abfss://backups@acct.dfs.core.windows.net/orders",
            {"conn_type": OWN, "login": "app", "password": "key-c", "extra": {"tenant_id": "t"}},
            {"tenant_id": "t", "client_id": "app", "client_secret": "key-c"},
        ),
        (
            "az://backups/orders",
            {"conn_type": "wasb", "login": "acct", "password": "key-d"},
            {"account_name": "acct", "account_key": "key-d"},
        ),
        (
            "az://backups/orders",
            {
                "conn_type": "wasb",
                "host": "https://acct.blob.core.windows.net/",
                "login": "app",
                "password": "key-e",
                "extra": {"tenant_id": "t"},
            },
            {"account_name": "acct", "tenant_id": "t", "client_id": "app", "client_secret": "key-e"},
        ),
        (
            "gs://backups/orders",
            {"conn_type": OWN, "password": json.dumps(KEY_FILE), "extra": {"endpoint": "http://e"}},
            {"endpoint": "http://e", "service_account_key": json.dumps(KEY_FILE)},
        ),
        (
            "gs://backups/orders",
            {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": KEY_FILE, "project": "p"}},
            {"service_account_key": json.dumps(KEY_FILE)},
        ),
        (
            "gs://backups/orders",
            {"conn_type": "google_cloud_platform", "extra": {"key_path": "/etc/key.json"}},
            {"service_account_file": "/etc/key.json"},
        ),
    ],
)
def test_connections_of_azure_and_google(
    monkeypatch: pytest.MonkeyPatch, url: str, fields: dict[str, Any], found: dict[str, str]
) -> None:
    from airflow_restore_replay.compat import redacted

    connection(monkeypatch, "store", **fields)
    cluster = cluster_with(repository={"url": url, "connection": "store"})
    assert RepositoryHook(cluster).credentials() == found
    public = {"endpoint", "account_name", "client_id", "tenant_id", "service_account_file"}
    for secret in (value for name, value in found.items() if name not in public):
        assert redacted(f"it is {secret}") == "it is ***"


@pytest.mark.parametrize(
    ("conn_type", "extra", "what"),
    [
        ("wasb", {"connection_string": "x"}, "connection_string"),
        ("google_cloud_platform", {"impersonation_chain": "x"}, "impersonation_chain"),
    ],
)
def test_what_only_their_providers_can_do_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, conn_type: str, extra: dict[str, Any], what: str
) -> None:
    connection(monkeypatch, "store", conn_type=conn_type, extra=extra)
    repository = {"url": "gs://bucket/orders", "connection": "store"}
    with pytest.raises(ConfigInvalid, match=f"'store' uses {what}, which a replay node cannot"):
        RepositoryHook(cluster_with(repository=repository)).credentials()


def test_primary_comes_from_a_mysql_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(
        monkeypatch,
        "db1",
        conn_type="mysql",
        host="db1.example",
        port=3307,
        login="protect",
        password="geheim-77",
        extra={"ssl": {"ca": "/etc/ca.pem", "cert": "/etc/own.pem", "key": "/etc/own.key"}},
    )
    hook = ReplayNodeHook(cluster_with(primary={"connection": "db1"}))
    primary = hook.cluster.primary
    assert (primary.host, primary.port, primary.user, primary.ssl_ca) == (
        "db1.example",
        3307,
        "protect",
        "/etc/ca.pem",
    )
    assert (primary.ssl_cert, primary.ssl_key) == ("/etc/own.pem", "/etc/own.key")
    assert primary.connection is None
    assert hook.secrets().primary_password == "geheim-77"
    assert "geheim-77" not in json.dumps(plain(hook.cluster))
    assert "geheim-77" not in repr(hook.secrets())


def test_x13_a_node_of_another_cluster_is_refused(tmp_path: Path) -> None:
    """More people may write XComs than may log in to a worker."""
    hook = ReplayNodeHook(cluster_with(node={"workdir": str(tmp_path)}))
    run = RunRef(run="a_dag/a_run", attempt="replay", lease_epoch=1)
    own = hook.create(run, key="a_task")
    for forged in (
        {"node_id": "customers-0123456789ab"},
        {"cluster": "customers"},
        {"node_id": "orders-a/../b"},
    ):
        for use in (hook.destroy, hook.client):
            with pytest.raises(PreflightFailed, match="is no replay node of cluster 'orders'"):
                use({**own, **forged})
    odd: Any
    for odd in ("", [], {}, {**own, "workdir": None}, {**own, "run": [[]]}):
        with pytest.raises(RestoreReplayError):
            hook.submit(odd, job=JobName.RESTORE, key="k", params={})
    hook.destroy(own)
    assert list(tmp_path.iterdir()) == []


_CA = {"ssl_ca": "/etc/ca.pem"}


@pytest.mark.parametrize(
    ("extra", "configured", "files"),
    [
        ({"ssl": '{"ca": "/etc/ca.pem"}'}, {}, _CA),
        ({"ssl": {"ssl_ca": "/etc/ca.pem", "check_hostname": True}}, {}, _CA),
        ({"ssl_ca": "/etc/ca.pem", "ssl_mode": "VERIFY_IDENTITY"}, {}, _CA),
        ({"ssl-ca": "/etc/ca.pem", "ssl-verify-cert": "true"}, {}, _CA),
        ({"ssl": True}, _CA, _CA),
        ({"ssl_mode": "REQUIRED"}, _CA, _CA),
        ({"ssl_mode": "DISABLED"}, {}, {}),
        ({"ssl_mode": "PREFERRED", "ssl": "false", "ssl_disabled": True}, {}, {}),
        ({"ssl": {}, "charset": "utf8", "ssl_verify_identity": False}, {}, {}),
        (
            {"ssl_cert": "/etc/own.pem", "ssl_key": "/k"},
            _CA,
            {**_CA, "ssl_cert": "/etc/own.pem", "ssl_key": "/k"},
        ),
    ],
)
def test_x22_tls_of_a_connection_is_understood_in_each_notation(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], configured: dict[str, str], files: dict[str, str]
) -> None:
    connection(monkeypatch, "db1", conn_type="mysql", host="db1.example", extra=extra)
    primary = ReplayNodeHook(cluster_with(primary={"connection": "db1", **configured})).cluster.primary
    found = {name: getattr(primary, name) for name in ("ssl_ca", "ssl_cert", "ssl_key")}
    assert {name: path for name, path in found.items() if path} == files


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"ssl": True}, "ssl True and no CA"),
        ({"ssl": "true"}, "ssl True and no CA"),
        ({"ssl": "required"}, "ssl 'required' and no CA"),
        ({"ssl_mode": "VERIFY_CA"}, "ssl_mode 'VERIFY_CA' and no CA"),
        ({"ssl-mode": "REQUIRED"}, "ssl_mode 'REQUIRED' and no CA"),
        ({"ssl": {"check_hostname": True}}, "ssl_check_hostname True and no CA"),
        ({"ssl": {"capath": "/etc/ssl/certs"}}, "ssl_capath '/etc/ssl/certs' and no CA"),
        ({"ssl": {"ca": "/ca.pem", "cipher": "X"}}, "ssl_cipher 'X' in its extra"),
        ({"ssl_ca": "/ca.pem", "ssl_mode": "DISABLED"}, "ssl_mode 'DISABLED' in its extra"),
        ({"ssl_cert": "/c", "ssl_key": "/k", "ssl_disabled": True}, "ssl_disabled True and no CA"),
        ({"tls_versions": ["TLSv1.3"]}, "tls_versions"),
        ({"ssl_ca": "ca.pem"}, "ssl_ca must be an absolute path"),
        ({"ssl": "[" * 3000}, "ssl '[[[["),
        ({"ssl": ["/ca.pem"]}, "ssl ['/ca.pem']"),
        ({"ssl": {"ca": {"a": 1}}}, "ssl_ca"),
        ({"ssl": {"ca": 5}}, "ssl_ca"),
    ],
)
def test_x22_tls_that_a_connection_asks_for_in_vain_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], named: str
) -> None:
    connection(monkeypatch, "db1", conn_type="mysql", host="db1.example", extra=extra)
    with pytest.raises(ConfigInvalid, match=re.escape(named)) as caught:
        _ = ReplayNodeHook(cluster_with(primary={"connection": "db1"})).cluster
    assert "'db1'" in str(caught.value)
    assert '{"ssl": {"ca":' in (caught.value.hint or "")


def test_primary_comes_from_the_cluster_file_without_a_connection(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim-78\n")
    cluster = cluster_with(primary={"host": "db2", "password_file": str(tmp_path / "password")})
    hook = ReplayNodeHook(cluster)
    assert hook.cluster is cluster
    assert hook.secrets().primary_password == "geheim-78"


def test_connection_tests(primary: MariaDbPrimary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_PASSWORD", BACKUP_PASSWORD)
    section = {"port": primary.port, "user": "restore_replay", "password_env": "ORDERS_PASSWORD"}
    cluster = cluster_with(primary=section, repository={"url": f"file://{tmp_path}/repository"})
    ok, said = ReplayNodeHook(cluster).test_connection()
    assert (ok, "MariaDB" in said) == (True, True)
    monkeypatch.setenv("ORDERS_PASSWORD", "wrong-password")
    ok, said = ReplayNodeHook(cluster).test_connection()
    assert (ok, "Access denied" in said, "wrong-password" in said) == (False, True, False)
    assert RepositoryHook(cluster).test_connection()[0] is False
    RepositoryHook(cluster).open(write=True)
    assert RepositoryHook(cluster).test_connection() == (True, "0 backups, 0 of them healthy and proven.")


def test_resolved_cluster_survives_the_way_to_the_node() -> None:

    cluster = cluster_with()
    raw = msgspec.json.decode(msgspec.json.encode(plain(cluster)))
    assert convert(raw, Cluster) == cluster
