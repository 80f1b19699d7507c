"""Checks of a file list, before anything of it is written to disk."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_restore_replay.core.errors import BackupFault, ManifestCorrupt, PathEscapes
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import PAGE_BYTES, check_ref, chunk_bytes, chunk_count

#: bounds a reader's memory, whatever chunk size a manifest names
MAX_CHUNK_SIZE_BYTES = 64 * 2**20


def check_entries(files: Iterable[FileEntry], chunk_size_bytes: int, *, label: str = "") -> None:
    """Raise if a file list would write outside its directory, or contradicts itself.

    :param label: name of the backup in errors.
    :raises PathEscapes: a path or a chunk reference leaves its root.
    :raises ManifestCorrupt: sizes, counts or paths contradict each other.
    """
    of_backup = f" of backup {label}" if label else ""
    check_chunk_size(chunk_size_bytes, of_backup)
    plain: set[str] = set()
    seen: set[str] = set()
    for entry in files:
        check_path(entry.path, of_backup)
        _check_shape(entry, chunk_size_bytes, of_backup)
        _check_refs(entry, chunk_size_bytes, label)
        if entry.path in seen:
            raise _contradiction(entry.path, of_backup, "it is listed twice")
        seen.add(entry.path)
        if not entry.directory:
            plain.add(entry.path)
    for path in seen:
        parents = path.split("/")[:-1]
        for depth in range(len(parents)):
            if "/".join(parents[: depth + 1]) in plain:
                raise _contradiction(path, of_backup, "one of its parents is a file")


def check_chunk_size(chunk_size_bytes: int, of_backup: str = "") -> None:
    """Raise unless *chunk_size_bytes* is a valid chunk size.

    :raises ManifestCorrupt: it is not a multiple of the page size, or larger than any writer uses.
    """
    if not 0 < chunk_size_bytes <= MAX_CHUNK_SIZE_BYTES or chunk_size_bytes % PAGE_BYTES:
        raise ManifestCorrupt(
            f"The chunk size{of_backup} is {chunk_size_bytes}; "
            f"expected a multiple of {PAGE_BYTES} up to {MAX_CHUNK_SIZE_BYTES}."
        )


def check_path(path: str, of_backup: str = "") -> None:
    """Raise unless *path* is relative and has plain components only.

    :raises PathEscapes: it is absolute, too long, or has empty, ``.`` or ``..`` components, or a NUL.
    """
    parts = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in parts) or len(path) > 4096:
        raise PathEscapes(
            f"The file path {path[:200]!r}{of_backup} leaves the data directory; nothing was written.",
            evidence={"file": path[:200]},
        )


def _check_shape(entry: FileEntry, chunk_size_bytes: int, of_backup: str) -> None:
    if entry.size_bytes < 0 or not 0 <= entry.mode <= 0o7777:
        raise _contradiction(entry.path, of_backup, "its size or mode is out of range")
    if entry.directory and (entry.size_bytes or entry.chunks):
        raise _contradiction(entry.path, of_backup, "a directory has content")
    expected = chunk_count(entry.size_bytes, chunk_size_bytes)
    if len(entry.chunks) != expected:
        raise _contradiction(
            entry.path,
            of_backup,
            f"{entry.size_bytes} bytes need {expected} chunks, it has {len(entry.chunks)}",
        )


def _check_refs(entry: FileEntry, chunk_size_bytes: int, label: str) -> None:
    try:
        for index, ref in enumerate(entry.chunks):
            check_ref(ref, chunk_bytes(entry.size_bytes, index, chunk_size_bytes))
    except BackupFault as exc:
        exc.evidence |= {"file": entry.path, "backup": label}
        raise


def _contradiction(path: str, of_backup: str, what: str) -> ManifestCorrupt:
    return ManifestCorrupt(f"The file list{of_backup} is wrong at {path}: {what}.", evidence={"file": path})
