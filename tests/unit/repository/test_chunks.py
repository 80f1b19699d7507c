"""Chunk references, and what a chunk store stores and reuses."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_restore_replay.core.errors import ChunkCorrupt, PathEscapes, StoreFailed
from airflow_restore_replay.core.repository.format.codec import Codec
from airflow_restore_replay.core.repository.format.refs import chunk_path, make_ref, split_ref
from airflow_restore_replay.core.repository.objects import generations
from airflow_restore_replay.core.repository.objects.chunks import (
    CHUNK_SIZE_BYTES,
    ChunkStore,
    is_zero,
)
from airflow_restore_replay.core.repository.objects.generations import Placed
from airflow_restore_replay.core.repository.store.local import LocalStore


def create(store: ChunkStore, data: bytes) -> Placed:
    name = store.codec.name(data)
    return store.create(data, name, store.codec.encode(data, name))


HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> ChunkStore:
    return ChunkStore(LocalStore(root))


@given(HEX, st.integers(0, 9999))
def test_references_come_back(name: str, generation: int) -> None:
    ref = make_ref(name, generation)
    assert split_ref(ref) == (name, generation)
    assert chunk_path(ref) == f"chunks/{name[:2]}/{name}.{generation}"


@given(st.text(max_size=80))
def test_no_text_leads_out_of_the_chunks(text: str) -> None:
    try:
        path = chunk_path(text)
    except PathEscapes:
        return
    assert len(path.split("/")) == 3
    assert ".." not in path


@pytest.mark.parametrize("ref", ["0" * 64 + ".01", "0" * 64 + ".", "0" * 64 + "\n", "0" * 65, "g" * 64])
def test_near_misses_are_refused(ref: str) -> None:
    with pytest.raises(PathEscapes, match="not a chunk reference"):
        split_ref(ref)


@settings(max_examples=25, deadline=None)
@given(data=st.binary(min_size=1, max_size=5000))
def test_what_is_stored_is_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    store = ChunkStore(LocalStore(tmp_path_factory.mktemp("store")))
    stored = create(store, data)
    assert stored.ref == blake3(data).hexdigest()
    assert store.read(stored.ref, len(data)) == data


def test_zeros_are_told_from_content() -> None:
    for size in (1, 4096, CHUNK_SIZE_BYTES):
        assert is_zero(bytes(size))
    assert not is_zero(bytes(CHUNK_SIZE_BYTES - 1) + b"\1")


def test_a_second_create_stores_nothing(store: ChunkStore) -> None:
    first, second = create(store, b"data"), create(store, b"data")
    assert (first.new, second.new) == (True, False)
    assert first.ref == second.ref == store.find(first.ref, 4)


def test_damaged_content_is_not_reused(store: ChunkStore, root: Path) -> None:
    ref = create(store, b"data").ref
    (root / chunk_path(ref)).write_bytes(b"damaged")
    assert store.find(ref, 4) is None
    assert create(store, b"data") == Placed(f"{ref}.1", new=True)
    assert create(store, b"data") == Placed(f"{ref}.1", new=False)


def test_generations_end(store: ChunkStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "MAX_GENERATIONS", 3)
    name = store.codec.name(b"data")
    for generation in range(3):
        path = root / chunk_path(make_ref(name, generation))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"damaged")
    with pytest.raises(StoreFailed, match="All 3 generations"):
        create(store, b"data")


class Unfaithful(LocalStore):
    """A store that damages what it is given, as a broken disk does."""

    def put_new(self, path: str, data: bytes) -> None:
        super().put_new(path, data[:-1] + bytes([data[-1] ^ 1]))


def test_what_does_not_read_back_blames_the_store(root: Path) -> None:
    with pytest.raises(StoreFailed, match="did not read back"):
        create(ChunkStore(Unfaithful(root)), os.urandom(100))


def test_a_size_other_than_the_files_is_corrupt(store: ChunkStore) -> None:
    ref = create(store, b"data").ref
    for size in (3, 5, 0):
        with pytest.raises(ChunkCorrupt, match="claims 4 bytes"):
            store.read(ref, size)


@pytest.mark.parametrize("size", [0, 1, 4096, CHUNK_SIZE_BYTES])
def test_no_honest_chunk_is_beyond_the_bound(size: int) -> None:
    codec, data = Codec(), os.urandom(size)
    assert len(codec.encode(data, codec.name(data))) <= codec.bound(size)


def test_threads_share_a_chunk_store(store: ChunkStore) -> None:
    data = [os.urandom(50_000) for _ in range(8)]
    results: list[bool] = []

    def work() -> None:
        for piece in data:
            results.append(store.read(create(store, piece).ref, len(piece)) == piece)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 32
