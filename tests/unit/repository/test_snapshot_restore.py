"""Snapshot and restore of directories, over a local store."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.errors import (
    ChunkMissing,
    InternalError,
    JobCancelled,
    ManifestCorrupt,
    PathEscapes,
    TargetNotEmpty,
    UnsupportedTables,
)
from airflow_restore_replay.core.repository.format.entries import check_entries, check_path
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import ChunkRef, chunk_path
from airflow_restore_replay.core.repository.objects.chunks import (
    CHUNK_SIZE_BYTES,
    ChunkStore,
)
from airflow_restore_replay.core.repository.rate_limit import RateLimit
from airflow_restore_replay.core.repository.store.local import LocalStore
from airflow_restore_replay.core.repository.transfer.restore import RestoreResult, restore_tree
from airflow_restore_replay.core.repository.transfer.snapshot import matches, snapshot_tree
from airflow_restore_replay.core.system.parallel import run_bounded
from tests.support.backups import MIB, make_tree, tree_bytes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def chunks(root: Path) -> ChunkStore:
    return ChunkStore(LocalStore(root))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "data")


def _restore(
    chunks: ChunkStore, files: list[FileEntry], target: Path, *, resume: bool = False
) -> RestoreResult:
    return restore_tree(chunks, files, target, chunk_size_bytes=CHUNK_SIZE_BYTES, resume=resume, label="b-1")


def _refs(files: list[FileEntry]) -> set[ChunkRef]:
    return {r for f in files for r in f.chunks if r is not None}


def test_files_directories_and_modes_come_back(chunks: ChunkStore, tree: Path, tmp_path: Path) -> None:
    (tree / "shop").chmod(0o700)
    (tree / "ibdata1").chmod(0o640)
    files, sizes = snapshot_tree(chunks, tree)
    assert [f.path for f in files] == sorted(f.path for f in files)
    assert sizes.files == len([f for f in files if not f.directory]) == 5
    assert sizes.total_bytes == sizes.new_bytes + sizes.zero_bytes + sizes.reused_bytes
    _restore(chunks, files, tmp_path / "out")
    assert tree_bytes(tmp_path / "out") == tree_bytes(tree)
    modes = {p.relative_to(tree): p.stat().st_mode for p in tree.rglob("*")}
    assert {p.relative_to(tmp_path / "out"): p.stat().st_mode for p in (tmp_path / "out").rglob("*")} == modes
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_zero_chunks_stay_holes(chunks: ChunkStore, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with open(tmp_path / "data" / "sparse", "wb") as file:
        file.truncate(64 * MIB)
    files, sizes = snapshot_tree(chunks, tmp_path / "data")
    assert (sizes.zero_bytes, sizes.stored_bytes) == (64 * MIB, 0)
    _restore(chunks, files, tmp_path / "out")
    info = (tmp_path / "out" / "sparse").stat()
    assert (info.st_size, info.st_blocks) == (64 * MIB, 0)


@pytest.mark.parametrize(
    ("relative", "directory", "excluded"),
    [
        ("core", False, True),
        ("core", True, False),
        ("core.123", False, True),
        ("db1-relay-bin.000001", False, True),
        ("shop/db1-relay-bin.frm", False, False),
        ("shop/core", False, False),
        ("#innodb_temp", True, True),
        ("ibdata1", False, False),
    ],
)
def test_patterns_name_files_unless_they_end_in_a_slash(
    relative: str, directory: bool, excluded: bool
) -> None:
    patterns = ("core", "core.[0-9]*", "*relay-bin.*", "#innodb_temp/")
    assert matches(relative, patterns, directory=directory) is excluded


def test_a_schema_named_like_an_excluded_file_is_kept(chunks: ChunkStore, tree: Path) -> None:
    (tree / "core").mkdir()
    (tree / "core" / "t.ibd").write_bytes(b"rows")
    (tree / "host.pid").write_text("1")
    (tree / "#innodb_temp").mkdir()
    (tree / "#innodb_temp" / "temp_1.ibt").write_bytes(b"x")
    files, _ = snapshot_tree(chunks, tree, excluded=["core", "*.pid", "#innodb_temp/"])
    paths = {f.path for f in files}
    assert {"core", "core/t.ibd"} <= paths
    assert not {"host.pid", "#innodb_temp", "#innodb_temp/temp_1.ibt"} & paths


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo"])
def test_what_a_snapshot_would_lose_is_refused_by_name(chunks: ChunkStore, tree: Path, kind: str) -> None:
    strange = tree / "shop" / "elsewhere.ibd"
    if kind == "fifo":
        os.mkfifo(strange)
    else:
        strange.symlink_to(tree / "ibdata1" if kind == "link" else "/nonexistent")
    with pytest.raises(UnsupportedTables, match="shop/elsewhere.ibd"):
        snapshot_tree(chunks, tree)
    assert snapshot_tree(chunks, tree, excluded=["shop/elsewhere.*"])[0]


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "remove", "appear"])
def test_a_directory_that_changes_is_not_a_backup(root: Path, tree: Path, change: str) -> None:
    class Meddling(LocalStore):
        """While the first object is stored, a server that should be down writes."""

        def put_new(self, path: str, data: bytes) -> None:
            file = tree / "ibdata1"
            if change == "grow":
                file.write_bytes(bytes(9 * MIB))
            elif change == "shrink":
                file.write_bytes(b"")
            elif change == "rewrite":
                file.write_bytes(file.read_bytes()[::-1])
            elif change == "remove":
                file.unlink(missing_ok=True)
            else:
                (tree / "new.ibd").touch()
            super().put_new(path, data)

    with pytest.raises(InternalError, match="changed while it was copied"):
        snapshot_tree(ChunkStore(Meddling(root)), tree, threads=1)


def test_progress_reaches_the_total_in_order(chunks: ChunkStore, tree: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    files, sizes = snapshot_tree(chunks, tree, progress=lambda *p: seen.append(p))
    assert seen[0] == (0, sizes.total_bytes)
    assert seen[-1] == (sizes.total_bytes, sizes.total_bytes)
    assert seen == sorted(seen)


def test_cancel_stops_both_directions(chunks: ChunkStore, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(JobCancelled):
        snapshot_tree(chunks, tree, cancelled=lambda: True)
    files, _ = snapshot_tree(chunks, tree)
    with pytest.raises(JobCancelled):
        restore_tree(chunks, files, tmp_path / "o", chunk_size_bytes=CHUNK_SIZE_BYTES, cancelled=lambda: True)


def test_a_restore_into_content_is_refused(chunks: ChunkStore, tree: Path, tmp_path: Path) -> None:
    files, _ = snapshot_tree(chunks, tree)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    with pytest.raises(TargetNotEmpty):
        _restore(chunks, files, tmp_path / "out")
    assert tree_bytes(tmp_path / "out") == {"precious": b"mine"}


def test_resume_fetches_only_what_is_not_there(chunks: ChunkStore, tree: Path, tmp_path: Path) -> None:
    files, sizes = snapshot_tree(chunks, tree)
    out = tmp_path / "out"
    _restore(chunks, files, out)
    assert _restore(chunks, files, out, resume=True).fetched_bytes == 0
    with open(out / "ibdata1", "r+b") as file:
        file.seek(MIB)
        file.write(b"damaged")
    (out / "undo001").write_bytes(b"not zero")
    (out / "shop" / "items.ibd").write_bytes(b"x" * 5 * MIB)
    result = _restore(chunks, files, out, resume=True)
    assert tree_bytes(out) == tree_bytes(tree)
    assert result.fetched_bytes == 4 * MIB
    fetched = {r for f in files if f.path in ("ibdata1", "shop/items.ibd") for r in f.chunks}
    assert result.base.unverified.isdisjoint(fetched)
    assert not any(result.base.verified(r) for r in _refs(files) - fetched)
    assert result.bytes == sizes.total_bytes


@pytest.mark.parametrize("where", ["shop", "ibdata1"])
def test_a_symbolic_link_in_the_target_is_not_followed(
    chunks: ChunkStore, tree: Path, tmp_path: Path, where: str
) -> None:
    files, _ = snapshot_tree(chunks, tree)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / where).symlink_to(outside)
    with pytest.raises(TargetNotEmpty, match="symbolic link"):
        _restore(chunks, files, tmp_path / "out", resume=True)
    assert list(outside.iterdir()) == []


def test_the_first_error_ends_the_restore(chunks: ChunkStore, root: Path, tree: Path, tmp_path: Path) -> None:
    files, _ = snapshot_tree(chunks, tree)
    ref = next(f for f in files if f.path == "ibdata1").chunks[0]
    (root / chunk_path(str(ref))).unlink()
    with pytest.raises(ChunkMissing, match=f"{ref} of backup b-1 \\(file ibdata1\\)"):
        _restore(chunks, files, tmp_path / "out")


ENTRY = FileEntry(path="t.ibd", size_bytes=10, chunks=["0" * 64])


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([ENTRY, ENTRY], "listed twice"),
        ([ENTRY, FileEntry(path="t.ibd/x")], "parents is a file"),
        ([FileEntry(path="t", size_bytes=10)], "need 1 chunks, it has 0"),
        ([FileEntry(path="t", size_bytes=0, chunks=[None])], "need 0 chunks, it has 1"),
        ([FileEntry(path="t", size_bytes=-1)], "out of range"),
        ([FileEntry(path="t", mode=0o100644)], "out of range"),
        ([FileEntry(path="d", directory=True, size_bytes=1, chunks=[None])], "directory has content"),
    ],
)
def test_contradictions_are_found_before_anything_is_written(
    entries: list[FileEntry], complaint: str
) -> None:
    with pytest.raises(ManifestCorrupt, match=complaint):
        check_entries(entries, CHUNK_SIZE_BYTES)


@pytest.mark.parametrize("size", [0, -4096, 4095, 128 * MIB, 2**62])
def test_absurd_chunk_sizes_are_refused(size: int) -> None:
    with pytest.raises(ManifestCorrupt, match="chunk size"):
        check_entries([], size)


@given(st.text(st.sampled_from("./a\0é "), max_size=12))
def test_a_path_that_passes_stays_inside(path: str) -> None:
    try:
        check_path(path)
    except PathEscapes:
        return
    resolved = os.path.normpath(os.path.join("/base", path))
    assert resolved.startswith("/base/")
    assert resolved == "/base/" + path


@given(st.lists(st.sampled_from(["a", "b", "..", ".", ""]), min_size=1, max_size=5))
def test_paths_of_plain_components_pass_and_others_do_not(parts: list[str]) -> None:
    try:
        check_path("/".join(parts))
        passed = True
    except PathEscapes:
        passed = False
    assert passed == all(part in ("a", "b") for part in parts)


def test_entries_survive_their_encoding() -> None:
    entry = FileEntry(path="shop/ü\n.ibd", size_bytes=5, mode=0o640, chunks=["0" * 64])
    assert msgspec.json.decode(msgspec.json.encode(entry), type=FileEntry) == entry


def test_work_in_flight_is_bounded_and_the_first_error_stops_the_rest() -> None:
    taken, lock = 0, threading.Lock()

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(10_000):
            with lock:
                taken += 1
            yield number

    def work(number: int) -> int:
        if number == 20:
            raise ValueError("20")
        return number

    with pytest.raises(ValueError, match="20"):
        for _ in run_bounded(items(), work, threads=2):
            pass
    assert taken < 40


def test_the_rate_limit_is_shared_by_threads() -> None:
    limit = RateLimit(1_000_000)
    begun = time.monotonic()
    threads = [threading.Thread(target=limit.take, args=(50_000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.3 < time.monotonic() - begun < 10


def test_no_rate_limit_does_not_wait() -> None:
    begun = time.monotonic()
    RateLimit(None).take(10**12)
    assert time.monotonic() - begun < 0.1
