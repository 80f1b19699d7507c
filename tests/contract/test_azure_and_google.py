"""What Azure and Google Cloud Storage have of their own, and the faults that a proxy adds to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec, Retention
from airflow_restore_replay.core.config.store_options import StoreOptions
from airflow_restore_replay.core.errors import Blame, ConfigInvalid, StoreDenied, StoreFailed
from airflow_restore_replay.core.repository.pruning.prune import prune
from airflow_restore_replay.core.repository.store.opening import open_store
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from tests.contract.conftest import Place
from tests.support.backups import aged_copy, back_up, tree_bytes
from tests.support.proxy import Act, FaultyProxy, always, first
from tests.support.stores.azurite import Azurite, sas_token
from tests.support.stores.gcs import FakeGcs

on_both = pytest.mark.parametrize("place", ["az", "gs"], indirect=True)


@pytest.fixture
def faulty(place: Place) -> Iterator[tuple[Place, FaultyProxy]]:
    """The same place, reached through a proxy."""
    own = place.spec.options.endpoint or ""
    port, _, path = own.removeprefix("http://127.0.0.1:").partition("/")
    with FaultyProxy(int(port)) as proxy:
        endpoint = f"{proxy.endpoint}/{path}".rstrip("/")
        options = msgspec.structs.replace(place.spec.options, endpoint=endpoint, retry_timeout=10.0)
        spec = msgspec.structs.replace(place.spec, options=options)
        yield Place(spec, place.damage, place.credentials), proxy


@on_both
def test_backups_are_made_restored_and_let_go(place: Place, tree: Path, tmp_path: Path) -> None:
    repository = place.open()
    manifest, files = back_up(repository, tree)
    restore_tree(repository.chunks, files, tmp_path / "out", chunk_size_bytes=manifest.chunk_size_bytes)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tree)
    old = aged_copy(repository, manifest.backup_id, days=60)
    epoch = repository.lease.acquire("prune-1", ttl_s=600)
    report = prune(repository, Retention(last=1, min_count=1), run="prune-1", epoch=epoch)
    assert report.deleted == [old]
    assert [m.backup_id for m in place.open(write=False).catalog().manifests] == [manifest.backup_id]


@on_both
def test_s7_s8_failures_and_lost_answers_are_survived(
    place: Place, faulty: tuple[Place, FaultyProxy], tree: Path
) -> None:
    proxied, proxy = faulty
    repository = proxied.open()
    down, lost = first(6, Act.FAIL_503), first(1, Act.LOSE_ANSWER, method="PUT", containing="manifests")

    def rule(method: str, path: str) -> Act:
        return act if (act := down(method, path)) is not Act.PASS else lost(method, path)

    proxy.rule = rule
    manifest, _ = back_up(repository, tree)
    assert [m.backup_id for m in place.open(write=False).catalog().manifests] == [manifest.backup_id]
    assert lost("PUT", "manifests") is Act.PASS, "an answer was lost"


@on_both
def test_s7_a_store_that_is_down_is_the_environments_fault(
    faulty: tuple[Place, FaultyProxy], tree: Path
) -> None:
    place, proxy = faulty
    options = msgspec.structs.replace(place.spec.options, retry_timeout=1.0)
    place.spec = msgspec.structs.replace(place.spec, options=options)
    repository = place.open()
    proxy.rule = always(Act.FAIL_503)
    with pytest.raises(StoreFailed, match="503") as caught:
        back_up(repository, tree)
    assert caught.value.blame is Blame.ENVIRONMENT
    assert caught.value.__cause__ is None
    for secret in (v for k, v in place.credentials.items() if k != "account_name"):
        assert secret not in str(caught.value)


def test_a_container_that_is_gone_is_no_evidence(az_server: Azurite) -> None:
    spec = az_server.spec("nowhere", retry_timeout="1s")
    with pytest.raises(StoreFailed, match="ContainerNotFound"):
        open_store(spec, az_server.credentials).get("manifests/one.json")


def test_a_wrong_key_is_refused_and_not_shown(az_server: Azurite) -> None:
    store = open_store(
        az_server.spec(az_server.new_folder(), retry_timeout="60s"),
        {**az_server.credentials, "account_key": "d3Jvbmcta2V5"},
    )
    with pytest.raises(StoreFailed, match="403 Forbidden") as caught:
        store.put_new("a/b", b"x")
    assert "d3Jvbmcta2V5" not in str(caught.value)


def test_the_account_may_be_an_option(az_server: Azurite) -> None:
    folder, key = az_server.new_folder(), az_server.credentials["account_key"]
    named = open_store(az_server.spec(folder, account_name="backups"), {"account_key": key})
    named.put_new("a/b", b"x")
    assert named.get("a/b") == b"x"
    with pytest.raises(ConfigInvalid, match="Account must be specified"):
        open_store(az_server.spec(folder), {"account_key": key})


def test_x6_a_token_that_cannot_delete_suffices_for_cycles(az_server: Azurite, tree: Path) -> None:
    bucket = az_server.new_bucket()
    token = sas_token(bucket, "rcwl")
    credentials = {"account_name": az_server.credentials["account_name"], "sas_token": token}
    place = Place(az_server.spec(bucket), az_server, credentials)
    repository = place.open()
    manifest, _ = back_up(repository, tree)
    assert [m.backup_id for m in place.open().catalog().manifests] == [manifest.backup_id]
    with pytest.raises(StoreDenied, match=r"repository\.json .* cannot be deleted") as caught:
        repository.store.delete("repository.json")
    assert token not in str(caught.value)
    assert "sig=" not in str(caught.value)


def test_credentials_may_come_from_the_environment(
    az_server: Azurite, gs_server: FakeGcs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = az_server.new_bucket()
    key = tmp_path / "key.json"
    key.write_text(gs_server.credentials["service_account_key"])
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", az_server.credentials["account_name"])
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", sas_token(bucket, "rcwl"))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(key))
    for spec in (az_server.spec(bucket), gs_server.spec(gs_server.new_folder())):
        store = open_store(spec)
        store.put_new("a/b", b"x")
        assert store.get("a/b") == b"x"


def test_googles_key_may_be_a_file(gs_server: FakeGcs, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text(gs_server.credentials["service_account_key"])
    folder = gs_server.new_folder()
    store = open_store(gs_server.spec(folder, service_account_file=str(key)))
    store.put_new("a/b", b"x")
    assert gs_server.read(f"{folder}/orders/a/b") == b"x"
    missing = StoreOptions(service_account_file=str(tmp_path / "missing.json"))
    with pytest.raises(ConfigInvalid, match=r"missing\.json"):
        open_store(RepositorySpec(url="gs://b/p", options=missing))


def test_a_key_that_is_none_is_refused_and_not_shown() -> None:
    secret = json.dumps({"private_key": "google-secret-77"})
    with pytest.raises(ConfigInvalid, match="cannot open gs://b/p") as caught:
        open_store(RepositorySpec(url="gs://b/p"), {"service_account_key": secret})
    assert "google-secret-77" not in str(caught.value)
