"""What the options ask of an S3 server, by what arrives there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.config.store_options import StoreOptions
from airflow_restore_replay.core.errors import ConfigInvalid, StoreDenied, StoreFailed
from airflow_restore_replay.core.repository.probe import probe_repository
from airflow_restore_replay.core.repository.store.base import AlreadyExists
from airflow_restore_replay.core.repository.store.opening import open_store
from tests.contract.conftest import Place
from tests.support.proxy import Act, FaultyProxy, always, first
from tests.support.stores.moto import Moto
from tests.support.stores.s3 import CREDENTIALS
from tests.support.stores.seaweedfs import SeaweedFs
from tests.support.tls import Authority, make_authority

MIB = 2**20


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_server(authority: Authority) -> Iterator[SeaweedFs]:
    with SeaweedFs(tls=(authority.cert, authority.key)) as server:
        yield server


def test_a_store_with_a_certificate_of_ones_own(tls_server: SeaweedFs, authority: Authority) -> None:
    bucket = tls_server.new_bucket()
    store = open_store(tls_server.spec(bucket, ca_file=str(authority.ca)), CREDENTIALS)
    store.put_new("a/b", b"x")
    assert store.get("a/b") == b"x"


def test_a_connection_may_have_the_certificate(tls_server: SeaweedFs, authority: Authority) -> None:
    found = {
        **CREDENTIALS,
        "ca_file": str(authority.ca),
        "endpoint": tls_server.endpoint,
        "region": "us-east-1",
    }
    said = probe_repository(RepositorySpec(url=f"s3://{tls_server.new_bucket()}/orders"), found)
    assert "conditional create and read work" in said


def test_a_certificate_of_an_unknown_authority_is_refused(tls_server: SeaweedFs) -> None:
    store = open_store(tls_server.spec(tls_server.new_bucket(), retry_timeout="500ms"), CREDENTIALS)
    with pytest.raises(StoreFailed, match="certificate|error sending request"):
        store.put_new("a/b", b"x")


def test_an_unusable_ca_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name, why in (("ca.pem", "holds no certificate"), ("missing.pem", "No such file")):
        spec = RepositorySpec(url="s3://b/p", options=StoreOptions(ca_file=str(tmp_path / name)))
        with pytest.raises(ConfigInvalid, match=f"{re.escape(name)}.*{why}"):
            open_store(spec, CREDENTIALS)


def test_encryption_and_class_arrive(moto: Moto) -> None:
    bucket = moto.new_bucket()
    key = "arn:aws:kms:us-east-1:123456789012:key/one"
    spec = moto.spec(
        bucket, sse="aws:kms", sse_kms_key_id=key, sse_bucket_key=True, storage_class="STANDARD_IA"
    )
    store = open_store(spec, CREDENTIALS)
    store.put_new("chunks/large", bytes(128 * 1024))
    store.put_new("manifests/small", b"{}")
    large, small = (moto.headers(f"/{bucket}/orders/{p}") for p in ("chunks/large", "manifests/small"))
    for headers in (large, small):
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == key
        assert headers["x-amz-server-side-encryption-bucket-key-enabled"] == "true"
    assert large["x-amz-storage-class"] == "STANDARD_IA"
    assert "x-amz-storage-class" not in small, "small objects cost more there"


def test_the_bucket_is_in_the_path_unless_told(s3_server: SeaweedFs, proxy: FaultyProxy) -> None:
    bucket = s3_server.new_bucket()
    open_store(s3_server.spec(bucket, endpoint=proxy.endpoint), CREDENTIALS).put_new("x", b"1")
    assert proxy.seen == [("PUT", f"/{bucket}/orders/x")]
    proxy.seen.clear()
    hosted = s3_server.spec(bucket, endpoint=proxy.endpoint, virtual_hosted=True, retry_timeout="100ms")
    proxy.rule = always(Act.FAIL_503)
    with pytest.raises(StoreFailed):
        open_store(hosted, CREDENTIALS).put_new("x", b"1")
    assert {path for _, path in proxy.seen} == {"/orders/x"}


def test_a_large_object_is_created_whole_and_read_in_parts(s3_server: SeaweedFs, proxy: FaultyProxy) -> None:
    """One request to create it, as its condition needs; a part that fails is read again by itself."""
    data = bytes(range(256)) * (40 * MIB // 256) + b"tail"
    store = open_store(
        s3_server.spec(s3_server.new_bucket(), endpoint=proxy.endpoint, timeout="5s"), CREDENTIALS
    )
    store.put_new("files/large", data)
    with pytest.raises(AlreadyExists):
        store.put_new("files/large", data[:-1])
    assert [method for method, _ in proxy.seen] == ["PUT", "PUT"]
    proxy.seen.clear()
    assert store.get("files/large") == data
    assert len(proxy.seen) == 1 + 3
    broken = first(1, Act.FAIL_503, method="GET")
    asked = len(proxy.seen)
    proxy.rule = lambda method, path: broken(method, path) if len(proxy.seen) > asked + 1 else Act.PASS
    assert store.get("files/large") == data


def test_a_locked_object_is_denied_not_failed(s3_server: SeaweedFs, proxy: FaultyProxy) -> None:
    store = open_store(s3_server.spec(s3_server.new_bucket(), endpoint=proxy.endpoint), CREDENTIALS)
    store.put_new("chunks/locked", b"x")
    proxy.rule = lambda method, path: Act.DENY if method == "DELETE" else Act.PASS
    with pytest.raises(StoreDenied, match="chunks/locked .* cannot be deleted"):
        store.delete("chunks/locked")
    assert store.get("chunks/locked") == b"x"


def test_no_option_changes_what_a_directory_does(place: Place) -> None:
    if place.spec.url.startswith("file:"):
        with pytest.raises(ValueError, match="there are none for it"):
            RepositorySpec(url=place.spec.url, options=StoreOptions(sse="AES256"))
