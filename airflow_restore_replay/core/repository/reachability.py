"""Objects that backups reference, and backups that share an object; each chunk list is decoded once for all backups."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator

from airflow_restore_replay.core.errors import BackupFault, KeyMissing, ManifestCorrupt
from airflow_restore_replay.core.repository.format.records import FileEntry, Manifest
from airflow_restore_replay.core.repository.format.refs import (
    ChunkRef,
    chunk_path,
    key_of,
    leaves,
    list_path,
    objects_of,
)
from airflow_restore_replay.core.repository.objects.lists import file_list_path
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.system.parallel import run_bounded

log = logging.getLogger(__name__)

_FILE_LIST = re.compile(r"files/[0-9a-f]{64}(\.[1-9][0-9]{0,3})?\.jsonl\.zst")
_THREADS = 4


def is_file_list(path: str) -> bool:
    """Return whether *path* is the name of a file list."""
    return bool(_FILE_LIST.fullmatch(path))


class ObjectWalk:
    """Collects the names of the objects that backups need; each chunk list is visited once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._visited: set[str] = set()

    def __call__(self, manifest: Manifest) -> set[str]:
        """Return names of objects that *manifest* references, except those in chunk lists visited before.

        :raises BackupFault: a list is damaged, so the objects that the backup needs are not known.
        """
        found = {file_list_path(manifest.file_list)}
        entries = self._repository.load_entries(manifest)
        for entry in entries:
            _add_objects(found, entry.chunks)
        lists = {entry.list for entry in entries if entry.list}
        found |= {list_path(ref) for ref in lists}
        for ref, refs in self._load(manifest, lists - self._visited):
            _add_objects(found, refs)
            self._visited.add(ref)
        return found

    def _load(self, manifest: Manifest, lists: set[str]) -> Iterator[tuple[str, list[ChunkRef]]]:
        return run_bounded(
            sorted(lists),
            lambda ref: self._repository.load_chunk_list(manifest, ref),
            threads=_THREADS,
        )


def _add_objects(found: set[str], refs: Iterable[ChunkRef]) -> None:
    for ref in refs:
        if isinstance(ref, str):
            found.add(chunk_path(ref))
        elif ref is not None:
            found.update(objects_of(ref))


def backups_sharing(repository: Repository, damaged: Iterable[str]) -> dict[str, list[str]]:
    """Return damaged content or list → ids of all readable backups that use it, sorted.

    :param damaged: keys of stored contents (:func:`~...refs.key_of`), or names of list objects.
    """
    wanted = set(damaged)
    sharing: dict[str, list[str]] = {key: [] for key in sorted(wanted)}
    if not wanted:
        return sharing
    search = _Search(repository, wanted)
    for manifest in repository.catalog().manifests:
        for key in search(manifest):
            sharing[key].append(manifest.backup_id)
    return {key: sorted(ids) for key, ids in sharing.items()}


class _Search:
    def __init__(self, repository: Repository, wanted: set[str]) -> None:
        self._repository = repository
        self._wanted = wanted
        self._in_list: dict[str, set[str]] = {}

    def __call__(self, manifest: Manifest) -> set[str]:
        """Return the wanted contents that *manifest*'s backup uses; lists that cannot be read are left out."""
        found = {file_list_path(manifest.file_list)} & self._wanted
        try:
            entries = self._repository.load_entries(manifest)
        except (ManifestCorrupt, KeyMissing) as exc:
            log.warning("Backup %s is left out of the search: %s", manifest.backup_id, exc)
            return found
        for entry in entries:
            found |= self._uses(entry.chunks)
            if entry.list:
                found |= {list_path(entry.list)} & self._wanted
                found |= self._of_list(manifest, entry)
        return found

    def _of_list(self, manifest: Manifest, entry: FileEntry) -> set[str]:
        if entry.list not in self._in_list:
            try:
                refs = self._repository.load_chunk_list(manifest, entry.list)
            except BackupFault as exc:
                log.warning(
                    "%s of backup %s is left out of the search: %s", entry.path, manifest.backup_id, exc
                )
                refs = []
            self._in_list[entry.list] = self._uses(refs)
        return self._in_list[entry.list]

    def _uses(self, refs: Iterable[ChunkRef]) -> set[str]:
        return {key for ref in refs for leaf in leaves(ref) if (key := key_of(leaf)) in self._wanted}
