"""Data directories over several cycles: restored, changed, copied again, without a database server."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.repository.format.records import FileEntry, Manifest, Sizes
from airflow_restore_replay.core.repository.format.refs import PAGE_BYTES, ChunkRef, PageDelta, Piece
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES, ChunkStore
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.transfer.restored_state import RestoredState
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.support.backups import MIB, manifest_for

SKIPPABLE = ("*/*.ibd",)


def node(
    chunks: ChunkStore, files: list[FileEntry], root: Path, *, resume: bool = False
) -> tuple[Path, RestoredState]:
    """Restore as a cycle does.

    :returns: the data directory, and what the node knows of it.
    """
    data = root / "data"
    root.mkdir(parents=True, exist_ok=True)
    result = restore_tree(
        chunks,
        files,
        data,
        chunk_size_bytes=CHUNK_SIZE_BYTES,
        pages=root / "pages",
        threads=2,
        resume=resume,
        label="base",
    )
    return data, result.base


def copy(
    chunks: ChunkStore, data: Path, base: RestoredState, **options: Any
) -> tuple[list[FileEntry], Sizes]:
    """Snapshot as a cycle does, with a random choice of what is read all the same that is always the same."""
    return snapshot_tree(
        chunks, data, base=base, **{"threads": 2, "skippable": SKIPPABLE, "rng": random.Random(1), **options}
    )


def next_backup(
    repository: Repository, old: list[FileEntry], root: Path, change: Any, *, run: str
) -> tuple[Manifest, list[FileEntry]]:
    """Restore, change, copy, publish.

    :param change: gets the data directory.
    """
    epoch = repository.lease.acquire(run, ttl_s=600)
    data, base = node(repository.chunks, old, root)
    change(data)
    files, sizes = copy(repository.chunks, data, base)
    manifest = repository.publish(
        manifest_for(repository, run=run, epoch=epoch, sizes=sizes), files, known_lists=base.lists
    )
    repository.lease.release(run, epoch)
    return manifest, files


def change_pages(path: Path, pages: list[int], *, seed: int = 0) -> None:
    """Write noise into pages of a file, in place."""
    noise = random.Random(seed)
    with open(path, "r+b") as file:
        for page in pages:
            file.seek(page * PAGE_BYTES)
            file.write(noise.randbytes(PAGE_BYTES))


def make_varied_tree(root: Path, *, large: bool = False) -> Path:
    """Return *root* with files whose snapshots have every kind of object once changed by :func:`vary`.

    :param large: add a file of so many chunks that they have a list of their own.
    """
    noise = random.Random(11)
    (root / "shop").mkdir(parents=True)
    (root / "shop" / "orders.ibd").write_bytes(noise.randbytes(4 * MIB) + noise.randbytes(MIB) + bytes(MIB))
    (root / "shop" / "small.ibd").write_bytes(noise.randbytes(100_000))
    (root / "shop" / "notes.MAD").write_bytes(b"notes " * 1000)
    (root / "shop" / "cold.ibd").write_bytes(noise.randbytes(200_000))
    (root / "ibdata1").write_bytes(noise.randbytes(MIB))
    if not large:
        return root
    # Many chunks and few bytes: all but two are holes.
    with open(root / "shop" / "large.ibd", "wb") as file:
        file.write(noise.randbytes(50_000))
        file.truncate(70 * CHUNK_SIZE_BYTES)
        file.seek(69 * CHUNK_SIZE_BYTES)
        file.write(noise.randbytes(30_000))
    return root


def vary(data: Path, *, seed: int = 5) -> None:
    """Change a few pages and a small file."""
    change_pages(data / "shop" / "orders.ibd", [3, 4, 100, 260], seed=seed)
    (data / "shop" / "notes.MAD").write_bytes(b"other notes %d " % seed * 999)


def kinds(files: list[FileEntry]) -> set[str]:
    """Return which kinds of references and lists *files* have."""
    found = {"list" for f in files if f.list}
    for entry in files:
        found.update(kind(ref) for ref in entry.chunks)
    return found


def kind(ref: ChunkRef) -> str:
    if ref is None:
        return "zero"
    if isinstance(ref, Piece):
        return "piece"
    return "delta" if isinstance(ref, PageDelta) else "chunk"
