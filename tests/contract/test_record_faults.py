"""Fault S4 and P6: damaged manifests, verdicts, file lists and markers; repositories of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from airflow_restore_replay.core.errors import (
    ManifestCorrupt,
    NoSuchBackup,
    RepositoryMismatch,
    StoreFailed,
)
from airflow_restore_replay.core.repository.format.records import Outcome
from airflow_restore_replay.core.repository.format.seals import checksum
from airflow_restore_replay.core.repository.objects.lists import file_list_path, write_file_list
from airflow_restore_replay.core.repository.objects.record_store import manifest_path
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.contract.conftest import Place
from tests.support.backups import back_up, flip_one_bit, manifest_for


def _wrong_version(data: bytes) -> bytes:
    body = json.dumps(json.loads(data.splitlines()[0]) | {"format": 3}).encode()
    return b"%s\n%s\n" % (body, json.dumps({"blake3": checksum(body)}).encode())


def _another_id(data: bytes) -> bytes:
    body = json.dumps(json.loads(data.splitlines()[0]) | {"backup_id": "20200101T000000Z-00000000"}).encode()
    return b"%s\n%s\n" % (body, json.dumps({"blake3": checksum(body)}).encode())


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        pytest.param(lambda d: d[:100], "two whole lines", id="S4-truncated"),
        pytest.param(lambda d: b"", "two whole lines", id="S4-empty"),
        pytest.param(lambda d: b"{oops\n{}\n", "corrupt", id="S4-not-json"),
        pytest.param(lambda d: b"\xff\xfe\n\xff\n", "corrupt", id="S4-not-text"),
        pytest.param(_wrong_version, "unknown format 3", id="S4-schema-version"),
        pytest.param(lambda d: d.replace(b"0-1-100", b"0-1-999"), "hashes to", id="S4-checksum"),
        pytest.param(_another_id, "id inside", id="S4-another-backup"),
    ],
)
def test_s4_a_damaged_manifest_is_reported_and_not_selectable(
    place: Place, tree: Path, harm: Callable[[bytes], bytes], complaint: str
) -> None:
    repository = place.open()
    good, _ = back_up(repository, tree, run="run-1")
    bad, _ = back_up(repository, tree, run="run-2")
    path = manifest_path(bad.backup_id)
    place.damage.write(path, harm(place.damage.read(path)))
    catalog = repository.catalog()
    assert [b.backup_id for b in catalog.healthy()] == [good.backup_id]
    assert list(catalog.unreadable) == [path]
    assert complaint in catalog.unreadable[path]
    with pytest.raises(NoSuchBackup, match="damaged"):
        catalog.backup(bad.backup_id)
    with pytest.raises(ManifestCorrupt, match=path):
        repository.load_manifest(bad.backup_id)


def test_s4_a_damaged_verdict_and_a_stray_object_are_reported(place: Place, tree: Path) -> None:
    repository = place.open()
    manifest, _ = back_up(repository, tree)
    verdict = repository.new_verdict(Outcome.QUARANTINED, "run-2", backup_id=manifest.backup_id)
    repository.record(verdict)
    assert repository.catalog().healthy() == []
    place.damage.write(f"verdicts/{verdict.verdict_id}.json", b"")
    place.damage.write("manifests/README", b"hello")
    assert set(repository.catalog().unreadable) == {f"verdicts/{verdict.verdict_id}.json", "manifests/README"}


@pytest.mark.parametrize("harm", [flip_one_bit, lambda d: d[:40], lambda d: b"", None])
def test_s4_a_damaged_file_list_blames_the_backup_and_is_stored_anew(
    place: Place, tree: Path, harm: Callable[[bytes], bytes] | None
) -> None:
    repository = place.open()
    manifest, files = back_up(repository, tree)
    path = file_list_path(manifest.file_list)
    if harm is None:
        place.damage.remove(path)
    else:
        place.damage.write(path, harm(place.damage.read(path)))
    with pytest.raises(ManifestCorrupt, match=path) as caught:
        repository.load_files(manifest)
    assert caught.value.evidence["backup"] == manifest.backup_id
    again = write_file_list(repository.store, repository.codec, files)
    assert again == (manifest.file_list if harm is None else f"{manifest.file_list}.1")
    assert repository.load_files(msgspec.structs.replace(manifest, file_list=again)) == files


def test_publishing_twice_is_once_and_another_content_is_refused(place: Place, tree: Path) -> None:
    repository = place.open()
    epoch = repository.lease.acquire("run-1", ttl_s=600)
    files, sizes = snapshot_tree(repository.chunks, tree)
    manifest = manifest_for(repository, run="run-1", epoch=epoch, sizes=sizes)
    assert repository.publish(manifest, files) == repository.publish(manifest, files)
    with pytest.raises(StoreFailed, match="never rewritten"):
        repository.publish(msgspec.structs.replace(manifest, position="0-1-7"), files)
    assert [m.position for m in repository.catalog().manifests] == ["0-1-100"]


def test_p6_a_repository_serves_one_cluster(place: Place) -> None:
    place.open(cluster="orders")
    for write in (True, False):
        with pytest.raises(RepositoryMismatch, match="belongs to cluster 'orders'"):
            place.open(cluster="billing", write=write)


def test_reading_does_not_create_a_repository(place: Place) -> None:
    with pytest.raises(RepositoryMismatch, match="no repository"):
        place.open(write=False)
    assert place.store().size("repository.json") is None


@pytest.mark.parametrize("content", [b"", b"{}", b"not json"])
def test_a_damaged_marker_is_refused(place: Place, content: bytes) -> None:
    place.open()
    place.damage.write("repository.json", content)
    with pytest.raises(RepositoryMismatch, match="does not describe a repository"):
        place.open()


def test_a_lost_marker_is_not_replaced_by_another_repositorys(place: Place, tree: Path) -> None:
    """A new one would have another id, with which no sealed record is valid any more."""
    back_up(place.open(), tree)
    marker = place.damage.read("repository.json")
    place.damage.remove("repository.json")
    for write in (True, False):
        with pytest.raises(RepositoryMismatch, match="missing in .* has records") as caught:
            place.open(write=write)
        assert "Restore repository.json from the store's versions" in caught.value.hint
    assert place.store().size("repository.json") is None
    place.damage.write("repository.json", marker)
    assert len(place.open().catalog().healthy()) == 1


def test_a_newer_repository_is_refused(place: Place) -> None:
    place.open()
    marker = json.loads(place.damage.read("repository.json").splitlines()[0]) | {"format": 3}
    place.damage.write("repository.json", json.dumps(marker).encode())
    with pytest.raises(RepositoryMismatch, match="format 3"):
        place.open()
