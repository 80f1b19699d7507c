"""Faults S7, S8, S9, S10 and S13: a real proxy between obstore and S3 misbehaves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import Blame, Circumstance, StoreFailed, StoreUnsafe
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.support.backups import back_up, manifest_for, tree_bytes
from tests.support.proxy import Act, FaultyProxy, always, first, nth
from tests.support.stores.s3 import CREDENTIALS
from tests.support.stores.seaweedfs import SeaweedFs


class Setup:
    """A repository reached directly, and the same one reached through the proxy."""

    def __init__(self, server: SeaweedFs, proxy: FaultyProxy) -> None:
        self.server, self.proxy, self.bucket = server, proxy, server.new_bucket()

    def direct(self) -> Repository:
        spec = self.server.spec(self.bucket)
        return Repository.open(spec, cluster="orders", credentials=CREDENTIALS, write=True)

    def proxied(self, *, timeout: str = "30s", retry_timeout: str = "20s", write: bool = True) -> Repository:
        options = {"endpoint": self.proxy.endpoint, "timeout": timeout, "retry_timeout": retry_timeout}
        spec = self.server.spec(self.bucket, **options)
        return Repository.open(spec, cluster="orders", credentials=CREDENTIALS, write=write)


@pytest.fixture
def setup(s3_server: SeaweedFs, proxy: FaultyProxy) -> Setup:
    return Setup(s3_server, proxy)


def _assert_environment(error: BaseException) -> None:
    assert isinstance(error, Circumstance)
    assert error.blame is Blame.ENVIRONMENT
    for secret in CREDENTIALS.values():
        assert secret not in repr(error)
        assert secret not in str(error)
    assert error.__cause__ is None, "the client's own text could show a signed URL"


def test_s7_a_store_that_answers_503_for_a_while_is_survived(
    setup: Setup, tree: Path, tmp_path: Path
) -> None:
    repository = setup.proxied()
    setup.proxy.rule = first(9, Act.FAIL_503)
    manifest, files = back_up(repository, tree)
    setup.proxy.rule = first(9, Act.FAIL_503)
    restore_tree(repository.chunks, files, tmp_path / "out", chunk_size_bytes=manifest.chunk_size_bytes)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tree)


def test_s7_a_store_that_answers_503_for_good_fails_in_bounded_time(setup: Setup, tree: Path) -> None:
    repository = setup.proxied(retry_timeout="3s")
    setup.proxy.rule = always(Act.FAIL_503)
    begun, asked = time.monotonic(), len(setup.proxy.seen)
    with pytest.raises(StoreFailed, match="503") as caught:
        back_up(repository, tree)
    assert time.monotonic() - begun < 20
    assert len(setup.proxy.seen) - asked < 60, "retries back off"
    _assert_environment(caught.value)
    assert setup.direct().catalog().manifests == ()


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_s8_a_hanging_transfer_is_aborted_and_retried(setup: Setup, tree: Path, method: str) -> None:
    repository = setup.proxied(timeout="1s")
    setup.proxy.rule = first(2, Act.HANG, method=method, containing="chunks")
    manifest, _ = back_up(repository, tree)
    assert [m.backup_id for m in setup.direct().catalog().manifests] == [manifest.backup_id]


def test_s8_a_transfer_that_stalls_halfway_is_aborted_and_retried(
    setup: Setup, tree: Path, tmp_path: Path
) -> None:
    manifest, files = back_up(setup.direct(), tree)
    repository = setup.proxied(timeout="1s")
    setup.proxy.rule = first(2, Act.HANG_MIDWAY, method="GET", containing="chunks")
    restore_tree(repository.chunks, files, tmp_path / "out", chunk_size_bytes=manifest.chunk_size_bytes)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tree)


def test_s8_a_store_that_hangs_for_good_fails_in_bounded_time(
    setup: Setup, tree: Path, tmp_path: Path
) -> None:
    manifest, files = back_up(setup.direct(), tree)
    repository = setup.proxied(timeout="1s", retry_timeout="3s")
    setup.proxy.rule = always(Act.HANG)
    begun = time.monotonic()
    with pytest.raises(StoreFailed) as caught:
        restore_tree(repository.chunks, files, tmp_path / "out", chunk_size_bytes=manifest.chunk_size_bytes)
    assert time.monotonic() - begun < 40
    _assert_environment(caught.value)


def test_s8_a_create_whose_answer_is_lost_is_not_a_conflict(setup: Setup, tree: Path) -> None:
    repository = setup.proxied(timeout="2s")
    lost = {
        path: first(1, Act.LOSE_ANSWER, method="PUT", containing=path)
        for path in ("chunks", "manifests", "leases")
    }
    setup.proxy.rule = lambda method, path: next(
        (act for part, rule in lost.items() if part in path and (act := rule(method, path)) is not Act.PASS),
        Act.PASS,
    )
    manifest, _ = back_up(repository, tree)
    assert [m.backup_id for m in setup.direct().catalog().manifests] == [manifest.backup_id]
    assert all(rule("PUT", part) is Act.PASS for part, rule in lost.items()), "each answer was lost once"


def test_s9_credentials_that_expire_mid_upload_leave_no_manifest(setup: Setup, tree: Path) -> None:
    repository = setup.proxied()
    uploads = nth(2, Act.FORBID_403, method="PUT", containing="chunks")
    setup.proxy.rule = uploads
    with pytest.raises(StoreFailed, match="ExpiredToken|PermissionDenied|403") as caught:
        back_up(repository, tree)
    _assert_environment(caught.value)
    assert setup.direct().catalog().manifests == ()


def test_s10_a_store_that_ignores_if_none_match_is_refused_at_start_up(setup: Setup) -> None:
    setup.proxy.rule = always(Act.DROP_CONDITION)
    for _ in range(2):
        with pytest.raises(StoreUnsafe, match="If-None-Match"):
            setup.proxied()
    setup.proxy.rule = always(Act.PASS)
    assert setup.proxied().cluster == "orders"


def test_s10_the_proof_does_not_change_the_repository(setup: Setup) -> None:
    repository_id = setup.direct().repository_id
    setup.proxy.rule = always(Act.DROP_CONDITION)
    with pytest.raises(StoreUnsafe):
        setup.proxied()
    assert setup.direct().repository_id == repository_id


@pytest.mark.parametrize("containing", ["chunks", "files"])
def test_s13_one_failed_upload_leaves_no_manifest(setup: Setup, tree: Path, containing: str) -> None:
    repository = setup.proxied(retry_timeout="2s")
    setup.proxy.rule = nth(
        3 if containing == "chunks" else 1, Act.FAIL_503, method="PUT", containing=containing
    )
    with pytest.raises(StoreFailed) as caught:
        back_up(repository, tree)
    _assert_environment(caught.value)
    assert setup.direct().catalog().manifests == ()
    setup.proxy.rule = always(Act.PASS)
    manifest, _ = back_up(repository, tree)
    assert [m.backup_id for m in setup.direct().catalog().manifests] == [manifest.backup_id]


def test_manifest_is_written_last(setup: Setup, tree: Path) -> None:
    """Invariant 1, and O6: whatever a kill cuts off, the manifest comes after everything it names."""
    repository = setup.proxied()
    setup.proxy.seen.clear()
    epoch = repository.lease.acquire("run-1", ttl_s=600)
    files, sizes = snapshot_tree(repository.chunks, tree)
    repository.publish(manifest_for(repository, run="run-1", epoch=epoch, sizes=sizes), files)
    creates = [path.split("/")[3] for method, path in setup.proxy.seen if method == "PUT"]
    assert creates[-1] == "manifests"
    assert creates[-3:-1] == ["files", "leases"]
    assert creates.count("manifests") == 1


def test_a_missing_bucket_is_no_evidence(setup: Setup, tree: Path, tmp_path: Path) -> None:
    manifest, files = back_up(setup.direct(), tree)
    repository = setup.proxied(retry_timeout="1s")
    for info in list(repository.store.list("chunks")) + list(repository.store.list("manifests")):
        repository.store.delete(info.path)
    for folder in ("leases", "files", "bundles"):
        for info in list(repository.store.list(folder)):
            repository.store.delete(info.path)
    repository.store.delete("repository.json")
    setup.server.raw("DELETE", f"/{setup.bucket}")
    with pytest.raises(StoreFailed, match="NoSuchBucket") as caught:
        restore_tree(repository.chunks, files, tmp_path / "out", chunk_size_bytes=manifest.chunk_size_bytes)
    _assert_environment(caught.value)
