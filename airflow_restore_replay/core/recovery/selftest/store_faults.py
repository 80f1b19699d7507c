"""Faults of stores, disks and clocks while a scratch copy is read, written and pruned."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec

from airflow_restore_replay.core.config.sections import Retention, Transfer
from airflow_restore_replay.core.errors import (
    Blame,
    RestoreReplayError,
    StoreDenied,
    StoreFailed,
    StoreFull,
)
from airflow_restore_replay.core.recovery.restore import restore_backup
from airflow_restore_replay.core.recovery.selftest.fault import Found, Injection, nothing, read
from airflow_restore_replay.core.recovery.selftest.scratch import Scratch, file_of
from airflow_restore_replay.core.repository.format.records import new_id, utc_now
from airflow_restore_replay.core.repository.format.refs import leaves, object_of
from airflow_restore_replay.core.repository.objects.chunks import CHUNK_SIZE_BYTES
from airflow_restore_replay.core.repository.objects.descriptor import opened_for_writing
from airflow_restore_replay.core.repository.pruning.prune import prune
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo
from airflow_restore_replay.core.repository.store.local import LocalStore
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree

_RUN = "selftest-2"
_CONTENT = ("chunks/", "bundles/")


class _Forgetful(LocalStore):
    """A store that replaces existing objects."""

    def put_new(self, path: str, data: bytes) -> None:
        (Path(self.url.removeprefix("file://")) / path).unlink(missing_ok=True)
        super().put_new(path, data)


class _Silent(LocalStore):
    """A store that returns records, but fails on every request for contents."""

    def get(self, path: str, *, max_bytes: int | None = None) -> bytes:
        return super().get(self._refuse(path), max_bytes=max_bytes)

    def get_uncached(self, path: str, *, max_bytes: int | None = None) -> bytes:
        return super().get_uncached(self._refuse(path), max_bytes=max_bytes)

    def get_range(self, path: str, offset: int, size_bytes: int, *, uncached: bool = False) -> bytes:
        return super().get_range(self._refuse(path), offset, size_bytes, uncached=uncached)

    def _refuse(self, path: str) -> str:
        if path.startswith(_CONTENT):
            raise StoreFailed(f"The store {self.url} answers 503 to {path}.")
        return path


class _Breaking(LocalStore):
    """A store that stores the first content only.

    :param error: raised for the other contents.
    """

    def __init__(self, root: Path, error: RestoreReplayError) -> None:
        super().__init__(root)
        self._error = error
        self._kept = ""

    def put_new(self, path: str, data: bytes) -> None:
        if path.startswith(_CONTENT) and (self._kept or path) != path:
            raise self._error
        super().put_new(path, data)
        if path.startswith(_CONTENT):
            self._kept = path


class _Listing(LocalStore):
    """A store whose listings lack one object."""

    def __init__(self, root: Path, hidden: str) -> None:
        super().__init__(root)
        self._hidden = hidden

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return (info for info in super().list(prefix) if info.path != self._hidden)


def _start_up(scratch: Scratch) -> Found:
    try:
        opened_for_writing(_Forgetful(scratch.root), scratch.cluster, "")
    except RestoreReplayError as exc:
        return {"start-up": exc.code}
    return {}


def _silence(scratch: Scratch) -> Found:
    """Check that failed requests are not mistaken for missing contents, because they say nothing about the backup."""
    found = read(scratch, scratch.open(store=_Silent(scratch.root)))
    return found if set(found.values()) == {StoreFailed.__name__} else {}


def _upload_that_ends_with(error: Callable[[], RestoreReplayError]) -> Callable[[Scratch], Found]:
    """Check that a failed upload publishes no backup, leaves no partial object, and keeps the earlier backup intact."""

    def find(scratch: Scratch) -> Found:
        before = set(scratch.open().store.list("manifests/"))
        found: Found = {}
        try:
            _next_backup(scratch, scratch.open(store=_Breaking(scratch.root, error())), _tree(scratch))
        except RestoreReplayError as exc:
            found = {"snapshot": exc.code} if exc.blame is Blame.ENVIRONMENT else {}
        after = scratch.open()
        whole = set(after.store.list("manifests/")) == before and not list(after.store.leftovers())
        return found if whole and not read(scratch) else {}

    return find


def _tree(scratch: Scratch) -> Path:
    """Create a directory with two chunks and some small files, none of which was ever stored."""
    tree = scratch.root.parent / f"{scratch.root.name}-next"
    tree.mkdir()
    noise = random.SystemRandom().randbytes
    (tree / "large.ibd").write_bytes(noise(2 * CHUNK_SIZE_BYTES))
    for number in range(3):
        (tree / f"small{number}.ibd").write_bytes(noise(4096))
    return tree


def _next_backup(scratch: Scratch, repository: Repository, tree: Path) -> str:
    """Publish a further backup, of *tree*, in the copy, and return its id."""
    epoch = repository.lease.acquire(_RUN, 3600)
    try:
        files, sizes = snapshot_tree(repository.chunks, tree, threads=1)
        manifest = msgspec.structs.replace(
            repository.load_manifest(scratch.backup_id),
            backup_id=new_id(),
            run=_RUN,
            lease_epoch=epoch,
            sizes=sizes,
            key_id=repository.key_id,
        )
        return repository.publish(manifest, files).backup_id
    finally:
        repository.lease.release(_RUN, epoch)


def _small_disk(scratch: Scratch) -> Found:
    """Check that a restore checks the free space first, by a backup whose manifest claims more than any disk has."""
    repository = scratch.open()
    manifest = repository.load_manifest(scratch.backup_id)
    huge = msgspec.structs.replace(manifest.sizes, total_bytes=2**62, zero_bytes=0)
    target = scratch.root.parent / f"{scratch.root.name}-restored"
    try:
        restore_backup(repository, msgspec.structs.replace(manifest, sizes=huge), target, transfer=Transfer())
    except RestoreReplayError as exc:
        return {"restore": exc.code} if exc.blame is Blame.ENVIRONMENT and not any(target.iterdir()) else {}
    return {}


def _prune(scratch: Scratch, store: LocalStore, skew: timedelta) -> Found:
    """Prune with a faulty store or clock, and check that nothing was deleted."""
    before = _names(scratch)
    repository = scratch.open(store=store)
    epoch = repository.lease.acquire(_RUN, 3600)
    found: Found = {}
    try:
        prune(repository, Retention(last=1, min_count=1), run=_RUN, epoch=epoch, now=lambda: utc_now() + skew)
    except RestoreReplayError as exc:
        found = {"prune": exc.code}
    return found if _names(scratch) == before else {}


def _names(scratch: Scratch) -> set[str]:
    folders = (*_CONTENT, "files/", "lists/", "manifests/", "prunes/", "condemned/")
    store = scratch.open().store
    return {info.path for folder in folders for info in store.list(folder)}


def _skewed(scratch: Scratch) -> Found:
    return _prune(scratch, LocalStore(scratch.root), timedelta(minutes=10))


def _partly_listed(scratch: Scratch) -> Found:
    hidden = scratch.stored(_any(scratch))[0].relative_to(scratch.root).as_posix()
    return _prune(scratch, _Listing(scratch.root, hidden), timedelta())


def _the_same_again(scratch: Scratch) -> Found:
    """Check that a fresh full that produces the corrupt chunk again stores it beside the corrupt one, and restores."""
    repository = scratch.open()
    manifest = repository.load_manifest(scratch.backup_id)
    kind = _any(scratch)
    wanted = [f for f in repository.load_files(manifest) if f.path == file_of(kind)]
    tree = scratch.root.parent / f"{scratch.root.name}-again"
    restore_tree(
        repository.chunks_for(manifest),
        wanted,
        tree,
        chunk_size_bytes=manifest.chunk_size_bytes,
        label="copy",
    )
    path, span = scratch.stored(kind)
    damaged_bytes = bytearray(path.read_bytes())
    damaged_bytes[span] = bytes(len(damaged_bytes[span]))
    path.write_bytes(damaged_bytes)
    new_id = _next_backup(scratch, repository, tree)
    (entry,) = repository.load_files(repository.load_manifest(new_id))
    stored = {object_of(leaf) for ref in entry.chunks if ref for leaf in leaves(ref)}
    old = path.relative_to(scratch.root).as_posix()
    damaged, again = read(scratch), read(scratch, backup_id=new_id)
    if old in stored or "restore" not in damaged or "restore" in again:
        return {}
    return {"read-back": "stored again"}


def _any(scratch: Scratch) -> str:
    """Return a kind of content that the backup has."""
    return next(iter(scratch.files))


def _denied() -> RestoreReplayError:
    return StoreDenied("The store answers 403: the credentials have expired.")


#: faults of stores, disks and clocks, from docs/faults.md
STORES: tuple[Injection, ...] = (
    Injection("S7", "store answers no request for contents", nothing, find=_silence),
    Injection("S9", "credentials expire mid-upload", nothing, find=_upload_that_ends_with(_denied)),
    Injection("S10", "store replaces objects", nothing, find=_start_up),
    Injection("S11", "disk too small for a restore", nothing, find=_small_disk),
    Injection(
        "S12",
        "repository full mid-upload",
        nothing,
        find=_upload_that_ends_with(lambda: StoreFull("No space.")),
    ),
    Injection(
        "S13",
        "all uploads after the first fail",
        nothing,
        find=_upload_that_ends_with(lambda: StoreFailed("503.")),
    ),
    Injection("S15", "clock ten minutes off", nothing, find=_skewed),
    Injection("S15", "listing lacks an object", nothing, find=_partly_listed),
    Injection("S17", "a fresh full produces the corrupt content", nothing, find=_the_same_again),
)
