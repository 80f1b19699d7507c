"""Faults S1, S2, S3, S5, S6 and S17 of the catalogue: damaged, missing, swapped, forged, oversized chunks."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard

from airflow_restore_replay.core.errors import Blame, ChunkCorrupt, ChunkMissing, PathEscapes, StoreFailed
from airflow_restore_replay.core.repository.format.records import FileEntry, Manifest
from airflow_restore_replay.core.repository.format.refs import chunk_path
from airflow_restore_replay.core.repository.reachability import backups_sharing
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import RestoreResult, restore_tree
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.contract.conftest import Place
from tests.support.backups import MIB, back_up, flip_one_bit, tree_bytes


def _restore(repository: Repository, manifest: Manifest, target: Path) -> RestoreResult:
    return restore_tree(
        repository.chunks,
        repository.load_files(manifest),
        target,
        chunk_size_bytes=manifest.chunk_size_bytes,
        label=manifest.backup_id,
    )


def _first_ref(files: list[FileEntry], path: str) -> str:
    ref = next(f for f in files if f.path == path).chunks[0]
    assert isinstance(ref, str)
    return ref


def test_a_published_backup_restores_byte_for_byte(place: Place, tree: Path, tmp_path: Path) -> None:
    repository = place.open()
    manifest, files = back_up(repository, tree)
    result = _restore(place.open(write=False), manifest, tmp_path / "out")
    assert tree_bytes(tmp_path / "out") == tree_bytes(tree)
    assert list(result.base.files) == files
    assert result.base.unverified == set()
    assert result.bytes == manifest.sizes.total_bytes
    assert manifest.sizes.zero_bytes == 5 * MIB
    assert [b.backup_id for b in repository.catalog().healthy()] == [manifest.backup_id]


def test_a_verified_base_is_not_stored_again(place: Place, tree: Path, tmp_path: Path) -> None:
    repository = place.open()
    manifest, _ = back_up(repository, tree)
    verified = _restore(repository, manifest, tmp_path / "out").base
    (tree / "shop" / "items.ibd").write_bytes(b"changed" * 1000)
    _, sizes = snapshot_tree(repository.chunks, tree, base=verified)
    assert (sizes.new_chunks, sizes.new_bytes) == (1, 7000)
    assert sizes.new_bytes + sizes.reused_bytes + sizes.zero_bytes == sizes.total_bytes


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(flip_one_bit, id="S1-bit-flip"),
        pytest.param(lambda data: data[: len(data) // 2], id="S2-truncated"),
        pytest.param(lambda data: b"", id="S2-empty"),
        pytest.param(lambda data: data + b"more", id="S2-longer"),
        pytest.param(lambda data: b"not zstd at all", id="S2-garbage"),
        pytest.param(lambda data: zstandard.compress(bytes(3 * MIB)), id="S3-wrong-content"),
    ],
)
def test_s1_s2_s3_a_damaged_chunk_blames_the_backup_and_names_everything(
    place: Place, tree: Path, tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    repository = place.open()
    manifest, files = back_up(repository, tree)
    ref = _first_ref(files, "ibdata1")
    place.damage.write(chunk_path(ref), harm(place.damage.read(chunk_path(ref))))
    with pytest.raises(ChunkCorrupt) as caught:
        _restore(repository, manifest, tmp_path / "out")
    error = caught.value
    assert error.blame is Blame.BACKUP
    assert all(name in str(error) for name in (ref, "ibdata1", manifest.backup_id))
    assert {"chunk": ref, "file": "ibdata1", "backup": manifest.backup_id}.items() <= error.evidence.items()


def test_s2_a_missing_chunk_is_named_with_its_file(place: Place, tree: Path, tmp_path: Path) -> None:
    repository = place.open()
    manifest, files = back_up(repository, tree)
    ref = _first_ref(files, "shop/items.ibd")
    place.damage.remove(chunk_path(ref))
    with pytest.raises(
        ChunkMissing, match=f"{ref} of backup {manifest.backup_id} .*shop/items.ibd"
    ) as caught:
        _restore(repository, manifest, tmp_path / "out")
    assert caught.value.evidence["chunk"] == ref


def test_a_repository_that_is_gone_altogether_is_no_evidence(
    place: Place, tree: Path, tmp_path: Path
) -> None:
    repository = place.open()
    manifest, files = back_up(repository, tree)
    place.damage.remove("repository.json")
    place.damage.remove(chunk_path(_first_ref(files, "ibdata1")))
    with pytest.raises(StoreFailed, match="is gone") as caught:
        _restore(repository, manifest, tmp_path / "out")
    assert caught.value.blame is Blame.ENVIRONMENT


def test_s3_two_swapped_chunks_are_found(place: Place, tree: Path, tmp_path: Path) -> None:
    repository = place.open()
    # Equal sizes, so that only the content can tell.
    (tree / "shop" / "items.ibd").write_bytes(random.Random(3).randbytes(MIB))
    (tree / "shop" / "other.ibd").write_bytes(random.Random(4).randbytes(MIB))
    manifest, files = back_up(repository, tree)
    one, two = (chunk_path(_first_ref(files, f"shop/{name}.ibd")) for name in ("items", "other"))
    first, second = place.damage.read(one), place.damage.read(two)
    place.damage.write(one, second)
    place.damage.write(two, first)
    with pytest.raises(ChunkCorrupt, match="its content hashes to"):
        _restore(repository, manifest, tmp_path / "out")


def test_s1_every_backup_that_shares_the_chunk_is_found(place: Place, tree: Path) -> None:
    repository = place.open()
    first, files = back_up(repository, tree, run="run-1")
    (tree / "shop" / "items.ibd").write_bytes(b"changed")
    second, files_2 = back_up(repository, tree, run="run-2")
    shared, old = _first_ref(files, "ibdata1"), _first_ref(files, "shop/items.ibd")
    assert shared == _first_ref(files_2, "ibdata1")
    sharing = backups_sharing(repository, [shared, old, "0" * 64])
    assert sharing == {
        shared: sorted([first.backup_id, second.backup_id]),
        old: [first.backup_id],
        "0" * 64: [],
    }


@pytest.mark.parametrize(
    "path", ["../escaped", "/tmp/escaped-rr", "shop/../../escaped", "a\0b", ".", "shop//x"]
)
def test_s5_a_path_outside_the_data_directory_writes_nothing(
    place: Place, tree: Path, tmp_path: Path, path: str
) -> None:
    repository = place.open()
    files, _ = snapshot_tree(repository.chunks, tree)
    forged = [*files, msgspec.structs.replace(next(f for f in files if f.path == "ibdata1"), path=path)]
    before = tree_bytes(tmp_path)
    with pytest.raises(PathEscapes) as caught:
        restore_tree(
            repository.chunks, forged, tmp_path / "out", chunk_size_bytes=repository.chunk_size_bytes
        )
    assert caught.value.blame is Blame.BACKUP
    assert tree_bytes(tmp_path) == before
    assert not Path("/tmp/escaped-rr").exists()


@pytest.mark.parametrize(
    "ref", ["../../manifests/x", "A" * 64, "0" * 63, "0" * 64 + ".0", "0" * 64 + "/x", ""]
)
def test_s5_a_chunk_reference_outside_the_chunks_writes_nothing(
    place: Place, tree: Path, tmp_path: Path, ref: str
) -> None:
    repository = place.open()
    files = [FileEntry(path="ibdata1", size_bytes=10, chunks=[ref])]
    with pytest.raises(PathEscapes, match="not a chunk reference"):
        restore_tree(repository.chunks, files, tmp_path / "out", chunk_size_bytes=repository.chunk_size_bytes)
    assert not (tmp_path / "out").exists()


def _bomb(size_bytes: int, *, claim: int) -> bytes:
    """Return a frame that claims *claim* bytes and decompresses to *size_bytes*."""
    frame = bytearray(zstandard.ZstdCompressor(write_content_size=True).compress(bytes(size_bytes)))
    # RFC 8878: magic, descriptor with an 4-byte content size field, single segment.
    assert frame[4] >> 6 == 2
    frame[5:9] = claim.to_bytes(4, "little")
    return bytes(frame)


@pytest.mark.parametrize("claim", [MIB, 200 * MIB])
def test_s6_a_chunk_that_decompresses_beyond_its_size_takes_no_memory(
    place: Place, tree: Path, tmp_path: Path, claim: int
) -> None:
    repository = place.open()
    manifest, files = back_up(repository, tree)
    place.damage.write(chunk_path(_first_ref(files, "shop/items.ibd")), _bomb(200 * MIB, claim=claim))
    tracemalloc.start()
    try:
        with pytest.raises(ChunkCorrupt):
            _restore(repository, manifest, tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB


@pytest.mark.parametrize("harm", [flip_one_bit, lambda d: b""])
def test_s17_a_fresh_full_never_lands_on_the_corrupt_chunk(
    place: Place, tree: Path, tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    repository = place.open()
    old, files = back_up(repository, tree, run="run-1")
    ref = _first_ref(files, "ibdata1")
    damaged = harm(place.damage.read(chunk_path(ref)))
    place.damage.write(chunk_path(ref), damaged)

    new, new_files = back_up(repository, tree, run="run-2")
    assert _first_ref(new_files, "ibdata1") == f"{ref}.1"
    assert new.sizes.new_bytes == 3 * MIB + 5000, "the chunk, and what is in bundles"
    _restore(repository, new, tmp_path / "out")
    assert tree_bytes(tmp_path / "out") == tree_bytes(tree)
    assert place.damage.read(chunk_path(ref)) == damaged, "nothing is rewritten"
    with pytest.raises(ChunkCorrupt):
        _restore(repository, old, tmp_path / "old")

    third, third_files = back_up(repository, tree, run="run-3")
    assert (third_files, third.sizes.stored_bytes) == (new_files, 0)
