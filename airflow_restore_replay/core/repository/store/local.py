"""A local directory as object store, with durable, conditional and atomic creates.

An object is written to an unnamed file, synced, and linked to its final name, which fails if the name exists
(linkat(2), EEXIST). A crash leaves nothing behind. On file systems without unnamed files (NFS), a temporary name in the
same directory is used instead. obstore's LocalStore neither syncs nor updates conditionally.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import ConfigInvalid, StoreDenied, StoreFailed, StoreFull
from airflow_restore_replay.core.repository.store.base import (
    AlreadyExists,
    ObjectInfo,
    ObjectMissing,
    ObjectTooLarge,
    safe_parts,
)

_TEMP_PREFIX = ".tmp-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LocalStore:
    """Objects as files below *root*, which the first write creates (mode 0700)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._below = f"{str(root).rstrip('/')}/"
        self._known_dirs: set[Path] = set()
        self._lock = threading.Lock()

    @classmethod
    def from_spec(cls, spec: RepositorySpec) -> LocalStore:
        """Open the store of a ``file://`` URL.

        :raises ConfigInvalid: the URL names a host or no absolute directory, or options are given.
        """
        parts = urlsplit(spec.url)
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not path.startswith("/") or path.strip("/") == "":
            raise ConfigInvalid(f"repository.url {spec.url!r} is not of the form file:///absolute/directory.")
        if spec.options.given():
            raise ConfigInvalid(
                f"repository.options {sorted(spec.options.given())} mean nothing for {spec.url}."
            )
        return cls(Path(path))

    @property
    def url(self) -> str:
        return self._root.as_uri()

    def put_new(self, path: str, data: bytes) -> None:
        final = self._resolve(path)
        with self._translated(path):
            self._ensure_dir(final.parent)
            directory = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _create(directory, final.name, data)
                os.fsync(directory)
            except FileExistsError:
                raise AlreadyExists(path) from None
            finally:
                os.close(directory)

    def get(self, path: str, *, max_bytes: int | None = None) -> bytes:
        return self._read(path, max_bytes, uncached=False)

    def get_uncached(self, path: str, *, max_bytes: int | None = None) -> bytes:
        return self._read(path, max_bytes, uncached=True)

    def get_range(self, path: str, offset: int, size_bytes: int, *, uncached: bool = False) -> bytes:
        with self._translated(path), self._opened(path) as file:
            if uncached:
                _drop_cached(file.fileno())
            file.seek(offset)
            return _read_exactly(file.fileno(), size_bytes)

    def size(self, path: str) -> int | None:
        final = self._resolve(path)
        with self._translated(path):
            try:
                return final.stat().st_size
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = self._name(prefix.rstrip("/"))
        with self._translated(prefix):
            yield from self._walk(start)

    def delete(self, path: str) -> None:
        final = self._resolve(path)
        with self._translated(path):
            try:
                final.unlink(missing_ok=True)
            except PermissionError as exc:
                raise StoreDenied(f"{path} in {self.url} cannot be deleted: {exc.strerror}.") from exc
            if final.parent.is_dir():
                _fsync_dir(final.parent)

    def leftovers(self) -> Iterator[ObjectInfo]:
        with self._translated(_TEMP_PREFIX):
            yield from self._walk(str(self._root), temporary=True)

    def _walk(self, directory: str, *, temporary: bool = False) -> Iterator[ObjectInfo]:
        try:
            entries = sorted(os.scandir(directory), key=lambda e: e.name)
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path, temporary=temporary)
            elif entry.is_file(follow_symlinks=False) and entry.name.startswith(_TEMP_PREFIX) == temporary:
                with contextlib.suppress(FileNotFoundError):  # deleted since the directory was read
                    info = entry.stat(follow_symlinks=False)
                    # Strings, because a listing may have millions of objects.
                    relative = entry.path[len(self._below) :]
                    yield ObjectInfo(relative, info.st_size, datetime.fromtimestamp(info.st_mtime, UTC))

    def _read(self, path: str, max_bytes: int | None, *, uncached: bool) -> bytes:
        with self._translated(path), self._opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if max_bytes is not None and size > max_bytes:
                raise ObjectTooLarge(path)
            if uncached:
                _drop_cached(file.fileno())
            return _read_exactly(file.fileno(), size)

    def _opened(self, path: str) -> FileIO:
        """Open the file of an object for reading.

        :raises ObjectMissing: the object does not exist.
        :raises StoreFailed: something else than a file has its name.
        """
        # To open a named pipe would block until somebody writes to it.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self._name(path), flags)
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissing(path) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StoreFailed(f"{path} in {self.url} is no file.")
        return open(descriptor, "rb", buffering=0)

    def _resolve(self, path: str) -> Path:
        return Path(self._name(path))

    def _name(self, path: str) -> str:
        """Return the file's path as text; a Path of each object would take longer than reading it."""
        try:
            return f"{self._below}{'/'.join(safe_parts(path))}"
        except ValueError as exc:
            raise StoreFailed(f"The store {self.url} was asked for a name outside its root: {exc}.") from exc

    def _ensure_dir(self, directory: Path) -> None:
        """Create *directory* durably, by syncing the parent of each new directory."""
        if directory in self._known_dirs:
            return
        missing = []
        current = directory
        while not current.is_dir():
            missing.append(current)
            current = current.parent
        for new in reversed(missing):
            new.mkdir(mode=0o700, exist_ok=True)
            _fsync_dir(new.parent)
        with self._lock:
            self._known_dirs.add(directory)

    @contextlib.contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if exc.errno in _FULL:
                raise StoreFull(
                    f"No space left in the repository {self.url} for {path} ({os.strerror(exc.errno)}).",
                    hint="Free space or prune; nothing was published.",
                ) from exc
            raise StoreFailed(f"The repository {self.url} failed on {path}: {exc.strerror or exc}.") from exc


def _create(directory: int, name: str, data: bytes) -> None:
    """Create *name* in the directory of that descriptor, complete and synced, or not at all.

    :raises FileExistsError: the name exists.

    Source: open(2), ``O_TMPFILE``, about linking such a file through ``/proc/self/fd``.
    """
    try:
        descriptor = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=directory)
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        _create_by_temporary_name(directory, name, data)
        return
    try:
        _write_synced(descriptor, data)
        os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=directory, follow_symlinks=True)
    finally:
        os.close(descriptor)


def _create_by_temporary_name(directory: int, name: str, data: bytes) -> None:
    temporary = f"{_TEMP_PREFIX}{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
    try:
        _write_synced(descriptor, data)
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(descriptor)
        os.unlink(temporary, dir_fd=directory)


def _write_synced(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _drop_cached(descriptor: int) -> None:
    """Drop the file's cached pages, so that the next read comes from the disk.

    Dirty pages cannot be dropped, so the file is synced first.
    """
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _read_exactly(descriptor: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _fsync_dir(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
