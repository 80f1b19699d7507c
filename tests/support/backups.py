"""Small data directories, and backups of them, without a database server."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import msgspec

from airflow_restore_replay.core.repository.format.records import (
    BaseRef,
    FileEntry,
    Manifest,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.objects.record_store import write_record
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree

MIB = 2**20


def make_tree(root: Path, *, seed: int = 1) -> Path:
    """Return *root* with files of all kinds: several chunks, a hole, a short tail, empty, zero."""
    noise = random.Random(seed)
    (root / "shop").mkdir(parents=True)
    (root / "empty_schema").mkdir(mode=0o750)
    (root / "shop" / "orders.ibd").write_bytes(
        noise.randbytes(4 * MIB) + bytes(4 * MIB) + noise.randbytes(5000)
    )
    (root / "shop" / "items.ibd").write_bytes(noise.randbytes(MIB))
    (root / "ibdata1").write_bytes(noise.randbytes(3 * MIB))
    (root / "undo001").write_bytes(bytes(MIB))
    (root / "ddl_recovery.log").touch(mode=0o600)
    return root


def tree_bytes(root: Path) -> dict[str, bytes | None]:
    """Return everything below *root*; directories as None."""
    return {
        p.relative_to(root).as_posix(): None if p.is_dir() else p.read_bytes()
        for p in sorted(root.rglob("*"))
    }


def manifest_for(
    repository: Repository, *, run: str, epoch: int, backup_id: str = "", **fields: object
) -> Manifest:
    """Return a manifest that lacks only its files."""
    at = utc_now()
    values: dict[str, object] = {
        "backup_id": backup_id or new_id(at),
        "cluster": repository.cluster,
        "flavor": "mariadb",
        "server_release": "10.11.14",
        "created_at": at,
        "run": run,
        "lease_epoch": epoch,
        "base": BaseRef(kind="seed", method="logical"),
        "position": "0-1-100",
        "goal": "0-1-90",
        "goal_read_at": at - timedelta(minutes=1),
        "chunk_size_bytes": repository.chunk_size_bytes,
        "file_list": "",
        "key_id": repository.key_id,
    }
    return Manifest(**(values | fields))  # type: ignore[arg-type]


def back_up(repository: Repository, tree: Path, *, run: str = "run-1") -> tuple[Manifest, list[FileEntry]]:
    """Snapshot *tree* and publish it, reusing nothing unread, as a fresh full does; equal trees give equal bundles."""
    epoch = repository.lease.acquire(run, ttl_s=600)
    files, sizes = snapshot_tree(repository.chunks, tree, threads=1)
    manifest = repository.publish(manifest_for(repository, run=run, epoch=epoch, sizes=sizes), files)
    repository.lease.release(run, epoch)
    return manifest, files


def aged_copy(repository: Repository, backup_id: str, *, days: float) -> str:
    """Add a backup with the same files, as if it had been made so many days earlier.

    :returns: its id.
    """
    source = repository.load_manifest(backup_id)
    at = source.created_at - timedelta(days=days)
    run = f"long ago/{new_id()}"
    epoch = repository.lease.acquire(run, ttl_s=60)
    copy = msgspec.structs.replace(
        source, backup_id=new_id(at), created_at=at, goal_read_at=at, run=run, lease_epoch=epoch
    )
    write_record(repository.store, copy, repository.sealer)
    repository.lease.release(run, epoch)
    return copy.backup_id


def flip_one_bit(data: bytes) -> bytes:
    """Return *data* with one bit of its middle changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
