"""Read the newest records of a repository, so that a check of many clusters is cheap, and each record only once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Manifest, Verdict
from airflow_restore_replay.core.repository.key_sources import read_repository_keys
from airflow_restore_replay.core.repository.objects.record_store import FOLDERS, READERS, read_all
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo, ObjectStore

#: manifests, and verdicts, that are read at first; a cycle records about three verdicts
_MOST = 96
#: of the records of one cluster, kept in memory for its next evaluation
_KEPT_BYTES = 16 * 2**20
#: folders of records, which are never rewritten
_WRITE_ONCE = tuple(f"{folder}/" for folder, _ in FOLDERS.values())

R = TypeVar("R", Manifest, Verdict)


@dataclass(frozen=True)
class Recent:
    """A catalog of the newest records.

    :param backups: number of manifests in the store.
    :param complete: the catalog has all records.
    """

    catalog: Catalog
    backups: int
    complete: bool


def recent_records(repository: Repository, *, everything: bool = False) -> Recent:
    """Read the newest manifests and verdicts, and as many as it takes to find a healthy backup of the present.

    Names sort by time, and a verdict is younger than the backup that it is about. So the state of a backup is known if
    all verdicts that are younger than the backup were read.

    :param everything: all records.
    """
    manifests, verdicts = (_newest_first(repository.store, kind) for kind in (Manifest, Verdict))
    most = max(len(manifests), len(verdicts)) if everything else _MOST
    while True:
        judged = verdicts[:most]
        horizon = _stamp(judged[-1]) if len(judged) < len(verdicts) else ""
        made = [info for info in manifests[:most] if _stamp(info) > horizon]
        catalog = _catalog(repository, made, judged)
        complete = len(made) == len(manifests) and len(judged) == len(verdicts)
        if complete or any(backup.manifest.as_of is None for backup in catalog.healthy()):
            return Recent(catalog, len(manifests), complete)
        most *= 4


def remembering(repository: Repository) -> Repository:
    """Let *repository*, which was opened for reading, keep the records it reads in memory, and return it."""
    repository.store = RememberingStore(repository.store)
    return repository


def open_remembering(cluster: Cluster) -> Repository:
    """Open the repository of *cluster* with the credentials of the environment; see :func:`remembering`."""
    return remembering(Repository.of_cluster(cluster, keys=read_repository_keys(cluster), write=False))


class RememberingStore:
    """A store that keeps the records it has read as long as they are listed, because records are never rewritten.

    :param most_bytes: of records that are kept.
    """

    def __init__(self, store: ObjectStore, most_bytes: int | None = None) -> None:
        self._store = store
        self._most_bytes = _KEPT_BYTES if most_bytes is None else most_bytes
        self._kept: dict[str, bytes] = {}
        self._kept_bytes = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self._store.url

    def put_new(self, path: str, data: bytes) -> None:
        self._store.put_new(path, data)

    def get(self, path: str, *, max_bytes: int | None = None) -> bytes:
        if not path.startswith(_WRITE_ONCE):
            return self._store.get(path, max_bytes=max_bytes)
        if (known := self._kept.get(path)) is None:
            known = self._store.get(path, max_bytes=max_bytes)
            self._keep(path, known)
        return known

    def get_uncached(self, path: str, *, max_bytes: int | None = None) -> bytes:
        return self._store.get_uncached(path, max_bytes=max_bytes)

    def get_range(self, path: str, offset: int, size_bytes: int, *, uncached: bool = False) -> bytes:
        return self._store.get_range(path, offset, size_bytes, uncached=uncached)

    def size(self, path: str) -> int | None:
        return self._store.size(path)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        found = self._store.list(prefix)
        if prefix not in _WRITE_ONCE:
            return found
        listed = [*found]
        there = {info.path for info in listed}
        with self._lock:
            gone = [path for path in self._kept if path.startswith(prefix) and path not in there]
        self.forget(gone)
        return iter(listed)

    def delete(self, path: str) -> None:
        self._store.delete(path)

    def leftovers(self) -> Iterator[ObjectInfo]:
        return self._store.leftovers()

    def forget(self, paths: Iterable[str]) -> None:
        """Read these objects again when they are asked for: somebody may repair what is damaged."""
        with self._lock:
            for path in paths:
                self._kept_bytes -= len(self._kept.pop(path, b""))

    def _keep(self, path: str, data: bytes) -> None:
        with self._lock:
            # What is kept stays when there is no more room: the next evaluation asks for all in the same order.
            if path not in self._kept and self._kept_bytes + len(data) <= self._most_bytes:
                self._kept[path] = data
                self._kept_bytes += len(data)


def _newest_first(store: ObjectStore, kind: type[Manifest] | type[Verdict]) -> list[ObjectInfo]:
    return sorted(store.list(f"{FOLDERS[kind][0]}/"), key=lambda info: info.path, reverse=True)


def _stamp(info: ObjectInfo) -> str:
    """Return the time in the name of a record's object."""
    return info.path.partition("/")[2][:16]


def _catalog(repository: Repository, made: list[ObjectInfo], judged: list[ObjectInfo]) -> Catalog:
    unreadable: dict[str, str] = {}
    store = repository.store
    # Starting a thread takes longer than reading a file.
    threads = 1 if store.url.startswith("file:") else READERS

    def read(kind: type[R], listed: list[ObjectInfo]) -> list[tuple[ObjectInfo, R]]:
        found = read_all(store, kind, repository.cluster, repository.sealer, listed, unreadable, threads)
        return [(info, record) for info, record, _ in found]

    manifests, verdicts = read(Manifest, made), read(Verdict, judged)
    if isinstance(store, RememberingStore):
        store.forget(unreadable)
    return Catalog.of(
        repository.cluster,
        [manifest for _, manifest in manifests],
        [verdict for _, verdict in verdicts],
        unreadable,
        stored={manifest.backup_id: info.modified for info, manifest in manifests},
        recorded={verdict.verdict_id: info.modified for info, verdict in verdicts},
    )
