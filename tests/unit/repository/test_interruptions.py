"""Random trees over three generations, and interruptions anywhere."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import PAGE_BYTES, objects_of
from airflow_restore_replay.core.repository.objects import bundles, lists
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES, ChunkStore
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.local import LocalStore
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.support.backups import back_up, flip_one_bit, tree_bytes
from tests.support.generations import copy, make_varied_tree, next_backup, node, vary

BORDERS = (0, 1, PAGE_BYTES, bundles.MAX_PIECE_BYTES, CHUNK_SIZE_BYTES, CHUNK_SIZE_BYTES + 2 * PAGE_BYTES)
SIZES = st.builds(lambda at, by: max(0, at + by), st.sampled_from(BORDERS), st.integers(-2, 2))
CONTENT = st.sampled_from(["noise", "text", "hole", "half"])
FILES = st.dictionaries(
    st.sampled_from(["a/x.ibd", "a/y.ibd", "b/x.ibd", "b/c/z.MYD", "ibdata1"]),
    st.tuples(SIZES, CONTENT),
    min_size=1,
    max_size=4,
)
CHANGE = st.sampled_from(["nothing", "page", "many pages", "grow", "shrink", "rewrite", "remove", "swap"])


@contextlib.contextmanager
def room() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="generations-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _make(root: Path, files: dict[str, tuple[int, str]], noise: random.Random) -> None:
    for relative, (size, content) in files.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            if content == "noise":
                file.write(noise.randbytes(size))
            elif content == "text":
                file.write((b"%d rows of text " % size * (size // 8 + 1))[:size])
            elif content == "half":
                file.seek(size // 2)
                file.write(noise.randbytes(size - size // 2))
            file.truncate(size)


def _change(root: Path, how: str, noise: random.Random) -> None:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    if not files:
        return
    path = noise.choice(files)
    size = path.stat().st_size
    if how in ("page", "many pages") and size:
        with open(path, "r+b") as file:
            for _ in range(1 if how == "page" else 40):
                at = noise.randrange(size)
                file.seek(at)
                file.write(noise.randbytes(min(3, size - at)))
    elif how == "grow":
        path.write_bytes(path.read_bytes() + noise.randbytes(PAGE_BYTES + 1))
    elif how == "shrink":
        path.write_bytes(path.read_bytes()[: size // 2])
    elif how == "rewrite":
        path.write_bytes(noise.randbytes(size))
    elif how == "remove":
        path.unlink()
    elif how == "swap" and len(files) > 1:
        other = next(p for p in files if p != path)
        between = root / "between"
        path.rename(between)
        other.rename(path)
        between.rename(other)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(files=FILES, changes=st.lists(CHANGE, min_size=2, max_size=2), seed=st.integers(0, 2**16))
def test_three_generations_come_back(
    files: dict[str, tuple[int, str]], changes: list[str], seed: int
) -> None:
    noise = random.Random(seed)
    with room() as here:
        chunks = ChunkStore(LocalStore(here / "store"))
        data = here / "data"
        data.mkdir()
        _make(data, files, noise)
        entries, sizes = snapshot_tree(chunks, data, threads=2)
        for generation, change in enumerate([*changes, "nothing"]):
            before = tree_bytes(data)
            data, base = node(chunks, entries, here / f"node{generation}")
            assert tree_bytes(data) == before
            _change(data, change, noise)
            entries, sizes = copy(chunks, data, base)
            kept = sizes.new_bytes + sizes.delta_bytes + sizes.reused_bytes + sizes.zero_bytes
            assert kept == sizes.total_bytes == sizes.read_bytes + sizes.skipped_bytes


class Killed(BaseException):
    """The process ends here."""


class Mortal(LocalStore):
    """Dies before, or after, the *nth* object is created, or at the *nth* read."""

    def __init__(self, root: Path, *, puts: int = -1, reads: int = -1, after: bool = False) -> None:
        super().__init__(root)
        self.puts, self.reads, self._after = puts, reads, after

    def put_new(self, path: str, data: bytes) -> None:
        if self.puts == 0:
            if self._after:
                super().put_new(path, data)
            raise Killed
        self.puts -= 1
        super().put_new(path, data)

    def _read(self, *args: Any, **options: Any) -> bytes:
        self._count()
        return super()._read(*args, **options)

    def get_range(self, *args: Any, **options: Any) -> bytes:
        self._count()
        return super().get_range(*args, **options)

    def _count(self) -> None:
        if self.reads == 0:
            raise Killed
        self.reads -= 1


@pytest.fixture
def small_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an interruption may fall between two of them."""
    defaults = bundles.Bundler.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "bundle_bytes", 60_000)
    monkeypatch.setattr(lists, "INLINE_REFS", 1)


@pytest.mark.parametrize("after", [False, True])
def test_a_snapshot_that_dies_anywhere_goes_on(tmp_path: Path, small_bundles: None, after: bool) -> None:
    spec = RepositorySpec(url=(tmp_path / "store").as_uri())
    repository = Repository.open(spec, cluster="orders", write=True)
    _, files = back_up(repository, make_varied_tree(tmp_path / "one"))
    backups = {m.backup_id for m in repository.catalog().manifests}
    deaths = again = 0
    for nth in range(40):
        here = tmp_path / f"node{nth}"
        data, base = node(repository.chunks, files, here)
        vary(data, seed=nth)
        (data / "shop" / "new.ibd").write_bytes(random.Random(nth).randbytes(900_000 + nth))
        for number in range(3):
            (data / "shop" / f"{number}.frm").write_bytes(random.Random(f"{nth}.{number}").randbytes(50_000))
        journal = here / "bundled"
        dying = ChunkStore(Mortal(tmp_path / "store", puts=nth, after=after))
        try:
            copy(dying, data, base, journal=journal, threads=1)
            break
        except Killed:
            deaths += 1
        assert {m.backup_id for m in repository.catalog().manifests} == backups, "no half backup"
        before = journal.read_bytes() if journal.exists() else b""
        entries, sizes = copy(repository.chunks, data, base, journal=journal, threads=1)
        again += before.count(b'"piece"')
        _, whole = snapshot_tree(ChunkStore(LocalStore(tmp_path / f"other{nth}")), data)
        if before:
            assert sizes.stored_bytes < whole.stored_bytes, "what was stored is not stored again"
        out, _ = node(repository.chunks, entries, tmp_path / f"out{nth}")
        assert tree_bytes(out) == tree_bytes(data)
        for path in (here, out.parent, tmp_path / f"other{nth}"):
            shutil.rmtree(path)
    assert deaths >= 4
    assert again > 0


def test_a_piece_that_was_damaged_since_is_stored_again(tmp_path: Path, small_bundles: None) -> None:
    root = tmp_path / "store"
    chunks = ChunkStore(LocalStore(root))
    data = make_varied_tree(tmp_path / "one")
    journal = tmp_path / "bundled"
    files, _ = snapshot_tree(chunks, data, journal=journal)
    same, sizes = snapshot_tree(chunks, data, journal=journal)
    assert (same, sizes.stored_bytes) == (files, 0)
    for path in root.glob("bundles/*/*"):
        path.write_bytes(flip_one_bit(path.read_bytes()))
    journal.write_bytes(journal.read_bytes() + b'[["piece","torn')
    again, sizes = snapshot_tree(chunks, data, journal=journal)
    assert sizes.stored_bytes > 0
    out, _ = node(chunks, again, tmp_path / "out")
    assert tree_bytes(out) == tree_bytes(data)


def test_a_restore_that_dies_anywhere_goes_on_by_content(tmp_path: Path, small_bundles: None) -> None:
    spec = RepositorySpec(url=(tmp_path / "store").as_uri())
    repository = Repository.open(spec, cluster="orders", write=True)
    _, files = back_up(repository, make_varied_tree(tmp_path / "one"))
    _, files = next_backup(repository, files, tmp_path / "two", vary, run="run-2")
    expected = tree_bytes(tmp_path / "two" / "data")
    deaths = 0
    for nth in range(30):
        here = tmp_path / f"node{nth}"
        try:
            node(ChunkStore(Mortal(tmp_path / "store", reads=nth)), files, here)
        except Killed:
            deaths += 1
        resumed, base = node(repository.chunks, files, here, resume=True)
        assert tree_bytes(resumed) == expected
        vary(resumed, seed=99)
        found, _ = copy(repository.chunks, resumed, base)
        out, _ = node(repository.chunks, found, tmp_path / f"out{nth}")
        assert tree_bytes(out) == tree_bytes(resumed)
        shutil.rmtree(here)
        shutil.rmtree(out.parent)
        if deaths <= nth:
            break
    assert deaths >= 4


def test_what_a_resumed_restore_did_not_decode_is_not_reused_unread(tmp_path: Path) -> None:
    root = tmp_path / "store"
    chunks = ChunkStore(LocalStore(root))
    files, _ = snapshot_tree(chunks, make_varied_tree(tmp_path / "one"))
    node(chunks, files, tmp_path / "two")
    data, base = node(chunks, files, tmp_path / "two", resume=True)
    assert base.unverified
    for path in [*root.glob("chunks/*/*"), *root.glob("bundles/*/*")]:
        path.write_bytes(b"damaged")
    found, sizes = copy(chunks, data, base)
    assert sizes.skipped_files == 0
    assert _places(found).isdisjoint(_places(files))
    out, _ = node(chunks, found, tmp_path / "out")
    assert tree_bytes(out) == tree_bytes(data)


def _places(files: list[FileEntry]) -> set[str]:
    return {path for entry in files for ref in entry.chunks for path in objects_of(ref)}
