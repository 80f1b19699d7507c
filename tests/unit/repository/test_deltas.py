"""Page deltas, bundles and unchanged files over several cycles."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_restore_replay.core.errors import InternalError
from airflow_restore_replay.core.repository.format.pages import apply_pages, cut_pages, pages_of, runs_of
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import (
    PAGE_BYTES,
    PageDelta,
    Piece,
    bundle_path,
    objects_of,
)
from airflow_restore_replay.core.repository.objects.bundles import BUNDLE_BYTES
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES, ChunkStore
from airflow_restore_replay.core.repository.store.local import LocalStore
from airflow_restore_replay.core.repository.transfer import unchanged_files as unchanged
from airflow_restore_replay.core.repository.transfer.pageindex import PageIndex
from airflow_restore_replay.core.repository.transfer.restored_state import RestoredState
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.support.backups import MIB, tree_bytes
from tests.support.generations import change_pages, copy, kind, kinds, make_varied_tree, node, vary


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def chunks(root: Path) -> ChunkStore:
    return ChunkStore(LocalStore(root))


def the(files: list[FileEntry], path: str) -> FileEntry:
    return next(f for f in files if f.path == path)


def objects(root: Path, folder: str) -> int:
    return len([p for p in (root / folder).rglob("*") if p.is_file()])


@given(st.sets(st.integers(0, 40)), st.integers(1, 41 * PAGE_BYTES))
def test_what_is_cut_is_put_back(pages: set[int], size: int) -> None:
    pages = {p for p in pages if p * PAGE_BYTES < size}
    noise = random.Random(size)
    old, new = noise.randbytes(size), bytearray(noise.randbytes(size))
    for page in set(range(-(-size // PAGE_BYTES))) - pages:
        span = slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
        new[span] = old[span]
    runs = runs_of(pages)
    assert pages_of(runs) == pages
    made = bytearray(old)
    apply_pages(made, cut_pages(bytes(new), runs), runs)
    assert made == new


def test_a_row_counts_only_for_the_content_it_was_made_from(tmp_path: Path) -> None:
    index = PageIndex.create(tmp_path / "pages", CHUNK_SIZE_BYTES)
    data = os.urandom(3 * PAGE_BYTES + 5)
    index.record(7, "a" * 64, data)
    changed = data[: 2 * PAGE_BYTES] + b"x" + data[2 * PAGE_BYTES + 1 :]
    again = PageIndex.open(tmp_path / "pages", CHUNK_SIZE_BYTES)
    assert again is not None
    assert again.changed(7, "a" * 64, changed) == {2}
    assert again.changed(7, "a" * 64, data) == set()
    assert again.changed(7, "b" * 64, data) is None, "another content"
    assert again.changed(6, "a" * 64, data) is None, "no row"
    assert again.changed(7, "a" * 64, data[:PAGE_BYTES]) is None, "another size"
    with open(tmp_path / "pages", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    assert again.changed(7, "a" * 64, data) is None, "damaged"


def test_only_changed_pages_are_stored_and_never_a_delta_of_a_delta(
    chunks: ChunkStore, root: Path, tmp_path: Path
) -> None:
    data = make_varied_tree(tmp_path / "one")
    files, first = snapshot_tree(chunks, data)
    assert kinds(files) == {"chunk", "piece"}
    base_ref = the(files, "shop/orders.ibd").chunks[0]
    held: set[int] = set()
    for generation, pages in enumerate(([3], [100, 101], [3, 255]), start=1):
        here = tmp_path / str(generation)
        data, base = node(chunks, files, here)
        change_pages(data / "shop" / "orders.ibd", pages, seed=generation)
        held |= set(pages)
        files, sizes = copy(chunks, data, base)
        ref = the(files, "shop/orders.ibd").chunks[0]
        assert isinstance(ref, PageDelta)
        assert (ref.base, pages_of(ref.runs)) == (base_ref, held)
        assert (sizes.delta_chunks, sizes.delta_page_bytes) == (1, len(held) * PAGE_BYTES)
        assert (sizes.new_bytes, sizes.bundles) == (0, 1)
        assert sizes.stored_bytes < first.stored_bytes / 20
        out, _ = node(chunks, files, tmp_path / f"out{generation}")
        assert tree_bytes(out) == tree_bytes(data)


@pytest.mark.parametrize(("pages", "found"), [(64, "delta"), (65, "chunk")])
def test_past_a_quarter_of_the_pages_a_chunk_is_stored_whole(
    chunks: ChunkStore, tmp_path: Path, pages: int, found: str
) -> None:
    files, _ = snapshot_tree(chunks, make_varied_tree(tmp_path / "one"))
    data, base = node(chunks, files, tmp_path / "two")
    change_pages(data / "shop" / "orders.ibd", list(range(0, 2 * pages, 2)))
    files, _ = copy(chunks, data, base)
    assert kind(the(files, "shop/orders.ibd").chunks[0]) == found


def test_without_a_verified_base_or_an_index_nothing_is_a_delta(chunks: ChunkStore, tmp_path: Path) -> None:
    files, _ = snapshot_tree(chunks, make_varied_tree(tmp_path / "one"))
    data, base = node(chunks, files, tmp_path / "two")
    vary(data)
    for poor in (
        RestoredState(files, CHUNK_SIZE_BYTES),
        RestoredState(
            files, CHUNK_SIZE_BYTES, {str(the(files, "shop/orders.ibd").chunks[0])}, {}, base.pages
        ),
    ):
        found, _ = copy(chunks, data, poor)
        assert kind(the(found, "shop/orders.ibd").chunks[0]) == "chunk"


def test_a_condemned_base_or_piece_is_referred_to_by_nothing(
    chunks: ChunkStore, root: Path, tmp_path: Path
) -> None:
    files, _ = snapshot_tree(chunks, make_varied_tree(tmp_path / "one"))
    data, base = node(chunks, files, tmp_path / "two")
    doomed = {path for f in files for ref in f.chunks for path in objects_of(ref)}
    vary(data)
    beside = ChunkStore(LocalStore(root), condemned=lambda: doomed)
    found, _ = copy(beside, data, base)
    assert doomed.isdisjoint(path for f in found for ref in f.chunks for path in objects_of(ref))
    for path in doomed:
        (root / path).unlink()
    out, _ = node(chunks, found, tmp_path / "out")
    assert tree_bytes(out) == tree_bytes(data)


def test_many_small_files_are_few_objects_and_few_reads(root: Path, tmp_path: Path) -> None:
    reads: list[str] = []

    class Counting(LocalStore):
        def get_range(self, path: str, offset: int, size_bytes: int, *, uncached: bool = False) -> bytes:
            reads.append(path)
            return super().get_range(path, offset, size_bytes, uncached=uncached)

    chunks = ChunkStore(Counting(root))
    noise = random.Random(1)
    for number in range(400):
        path = tmp_path / "data" / f"db{number % 7}" / f"t{number}.ibd"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(60_000 + number))
    files, sizes = snapshot_tree(chunks, tmp_path / "data")
    stored = objects(root, "bundles")
    assert objects(root, "chunks") == 0
    assert sizes.bundles == stored <= sizes.total_bytes // (2 * MIB)
    assert len(reads) == stored, "each bundle is read back once"
    reads.clear()
    out, _ = node(chunks, files, tmp_path / "out")
    assert tree_bytes(out) == tree_bytes(tmp_path / "data")
    assert len(reads) == stored


def test_equal_contents_are_stored_once(chunks: ChunkStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(20):
        (tmp_path / "data" / f"{number}.frm").write_bytes(b"the same " * 500)
        (tmp_path / "data" / f"{number}.MYD").write_bytes(random.Random(1).randbytes(MIB))
    files, sizes = snapshot_tree(chunks, tmp_path / "data", threads=4)
    assert (sizes.new_chunks, objects(root, "bundles"), objects(root, "chunks")) == (2, 1, 1)
    assert len({f.chunks[0] for f in files}) == 2


def test_a_bundle_that_is_hardly_used_any_more_is_left_behind(
    chunks: ChunkStore, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    noise = random.Random(2)
    for number in range(40):
        (tmp_path / "data" / f"{number:02}.ibd").write_bytes(noise.randbytes(100_000))
    files, _ = snapshot_tree(chunks, tmp_path / "data")
    old = {ref.bundle for f in files for ref in f.chunks if isinstance(ref, Piece)}
    for generation, left in enumerate((15, 9, 9)):
        data, base = node(chunks, files, tmp_path / f"node{generation}")
        for path in sorted(data.iterdir())[left:]:
            path.unlink()
        files, sizes = copy(chunks, data, base)
        now = {ref.bundle for f in files for ref in f.chunks if isinstance(ref, Piece)}
        # What counts is the base, which has 40, then 15, then 9 of the 40 files.
        assert (now == old) == (generation < 2)
        assert sizes.new_bytes == (0 if generation < 2 else left * 100_000)
        old = now
    assert root.joinpath(bundle_path(old.pop())).stat().st_size < BUNDLE_BYTES / 4


class TestUntouched:
    """Files that are passed over, and those that must not be."""

    @pytest.fixture
    def files(self, chunks: ChunkStore, tmp_path: Path) -> list[FileEntry]:
        return snapshot_tree(chunks, make_varied_tree(tmp_path / "one"))[0]

    def test_nothing_changed_nothing_read(
        self, chunks: ChunkStore, files: list[FileEntry], tmp_path: Path
    ) -> None:
        data, base = node(chunks, files, tmp_path / "two")
        found, sizes = copy(chunks, data, base)
        assert found == files
        ibd = [f for f in files if f.path.endswith(".ibd")]
        assert sizes.skipped_files == len(ibd)
        others = sum(f.size_bytes for f in files if f not in ibd)
        assert others < sizes.read_bytes <= others + CHUNK_SIZE_BYTES, (
            "a hundredth of the skipped chunks, at least one"
        )
        assert sizes.read_bytes + sizes.skipped_bytes == sizes.total_bytes
        assert sizes.reused_bytes + sizes.zero_bytes == sizes.total_bytes

    def test_reading_everything_gives_the_same_references(
        self, chunks: ChunkStore, files: list[FileEntry], tmp_path: Path
    ) -> None:
        data, base = node(chunks, files, tmp_path / "two")
        vary(data)
        # One thread: the order of pieces in a bundle is theirs.
        lazy, sizes = copy(chunks, data, base, threads=1)
        paranoid, all_read = copy(chunks, data, base, skippable=(), threads=1)
        assert lazy == paranoid
        assert (sizes.skipped_files, all_read.skipped_files) == (2, 0)
        assert (all_read.read_bytes, all_read.skipped_bytes) == (all_read.total_bytes, 0)

    def test_a_swap_by_renames_is_seen(self, chunks: ChunkStore, tmp_path: Path) -> None:
        (tmp_path / "one" / "shop").mkdir(parents=True)
        for name in "ab":
            (tmp_path / "one" / "shop" / f"{name}.ibd").write_bytes(name.encode() * 100_000)
        files, _ = snapshot_tree(chunks, tmp_path / "one")
        data, base = node(chunks, files, tmp_path / "two")
        a, b, c = (data / "shop" / f"{n}.ibd" for n in "abc")
        for path in (a, b):
            os.utime(path, ns=(0, 0))
        a.rename(c)
        b.rename(a)
        c.rename(b)
        found, sizes = copy(chunks, data, base)
        assert sizes.skipped_files == 0
        assert [the(found, f"shop/{n}.ibd").chunks for n in "ab"] == [
            the(files, f"shop/{n}.ibd").chunks for n in "ba"
        ]

    def test_setting_the_times_back_hides_nothing(
        self, chunks: ChunkStore, files: list[FileEntry], tmp_path: Path
    ) -> None:
        data, base = node(chunks, files, tmp_path / "two")
        path = data / "shop" / "cold.ibd"
        before = path.stat()
        change_pages(path, [0])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        found, _ = copy(chunks, data, base)
        assert the(found, "shop/cold.ibd").chunks != the(files, "shop/cold.ibd").chunks

    def test_a_restore_again_forgets_what_was_recorded(
        self, chunks: ChunkStore, files: list[FileEntry], tmp_path: Path
    ) -> None:
        """The inode is another one, or the times are: records of a directory that is gone match nothing."""
        data, stale = node(chunks, files, tmp_path / "two")
        for path in sorted(data.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        data, _ = node(chunks, files, tmp_path / "two", resume=True)
        assert copy(chunks, data, stale)[1].skipped_files == 0

    def test_only_known_file_systems_are_trusted(
        self, chunks: ChunkStore, files: list[FileEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, base = node(chunks, files, tmp_path / "two")
        monkeypatch.setattr(unchanged, "known_file_system", lambda path: None)
        assert copy(chunks, data, base)[1].skipped_files == 0
        assert node(chunks, files, tmp_path / "three")[1].stats == {}

    def test_a_change_right_after_the_restore_is_seen(
        self, chunks: ChunkStore, files: list[FileEntry], tmp_path: Path
    ) -> None:
        """Same size, and the modification time is put back: the time of the change tells."""
        for number in range(20):
            data, base = node(chunks, files, tmp_path / f"node-{number}")
            changed = data / "shop/cold.ibd"
            info = changed.stat()
            with changed.open("r+b") as file:
                file.write(b"x")
            os.utime(changed, ns=(info.st_atime_ns, info.st_mtime_ns))
            assert "shop/cold.ibd" not in unchanged.unchanged_files(data, base, ["*/*.ibd"])

    def test_a_clock_that_was_set_back_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unchanged, "_LONGEST_SETTLE_S", 0.05)
        assert unchanged._time_stamps_pass(tmp_path, time.time_ns() - 10**9)
        assert not unchanged._time_stamps_pass(tmp_path, time.time_ns() + 3600 * 10**9)
        assert list(tmp_path.iterdir()) == []

    def test_a_change_behind_the_file_system_is_found_by_the_sample(
        self, chunks: ChunkStore, files: list[FileEntry], tmp_path: Path
    ) -> None:
        data, base = node(chunks, files, tmp_path / "two")
        for path in (data / "shop").glob("*.ibd"):
            with open(path, "r+b") as file:
                for index in range(-(-path.stat().st_size // CHUNK_SIZE_BYTES)):
                    file.seek(index * CHUNK_SIZE_BYTES)
                    file.write(b"x")
        # As if the file system had kept everything that it says of the files.
        lying = RestoredState(
            base.files,
            base.chunk_size_bytes,
            stats=unchanged.settled_stats(data, [f for f in files if f.path.endswith(".ibd")]),
        )
        with pytest.raises(InternalError, match="shop/.*although size, times and inode"):
            copy(chunks, data, lying)
