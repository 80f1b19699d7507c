"""Fault S12: the disk of a local repository is full, for real, on a small tmpfs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import Blame, NodeFull, StoreFull
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from tests.support.backups import MIB, back_up, make_tree, tree_bytes
from tests.support.disks import small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory with 6 MiB of space."""
    with small_disk(tmp_path / "small", mebibytes=6) as mount:
        yield mount


def test_s12_a_full_repository_publishes_nothing_and_keeps_what_it_has(disk: Path, tmp_path: Path) -> None:
    small = tmp_path / "data"
    small.mkdir()
    (small / "t.ibd").write_bytes(os.urandom(MIB))
    spec = RepositorySpec(url=(disk / "repository").as_uri())
    repository = Repository.open(spec, cluster="orders", write=True)
    manifest, files = back_up(repository, small)

    with pytest.raises(StoreFull, match="No space left") as caught:
        back_up(repository, make_tree(tmp_path / "large"), run="run-2")
    assert caught.value.blame is Blame.ENVIRONMENT
    assert [m.backup_id for m in repository.catalog().manifests] == [manifest.backup_id]
    assert repository.catalog().unreadable == {}
    assert not [p for p in disk.rglob(".tmp-*")], "no temporary file is left"
    for info in repository.store.list("chunks"):
        ref = info.path.split("/")[-1].removesuffix(".0")
        sizes = {ref: min(4 * MIB, f.size_bytes) for f in files for ref in f.chunks if isinstance(ref, str)}
        if ref in sizes:
            repository.chunks.read(ref, sizes[ref])
    restore_tree(repository.chunks, files, tmp_path / "out", chunk_size_bytes=manifest.chunk_size_bytes)
    assert tree_bytes(tmp_path / "out") == tree_bytes(small)


def test_a_full_node_is_the_environments_fault(disk: Path, tmp_path: Path) -> None:
    spec = RepositorySpec(url=(tmp_path / "repository").as_uri())
    repository = Repository.open(spec, cluster="orders", write=True)
    manifest, files = back_up(repository, make_tree(tmp_path / "data"))
    with pytest.raises(NodeFull, match="No space left") as caught:
        restore_tree(repository.chunks, files, disk / "node", chunk_size_bytes=manifest.chunk_size_bytes)
    assert caught.value.blame is Blame.ENVIRONMENT
