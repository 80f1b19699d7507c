"""The target directory of a restore: create its files and directories, and make them durable."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from airflow_restore_replay.core.errors import NodeFull, TargetNotEmpty
from airflow_restore_replay.core.repository.format.codec import Content
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.system.filesystem import can_sync_whole, sync_whole
from airflow_restore_replay.core.system.parallel import run_bounded

#: for more files than this, syncing the whole file system is cheaper than syncing each file
_MANY_FILES = 64
_OWNER_WRITES = 0o600


class Target:
    """The target directory of a restore.

    :param path: the directory.
    :param files: entries of the backup's file list.
    :param resume: the directory may have content.
    """

    def __init__(self, path: Path, files: Sequence[FileEntry], *, resume: bool) -> None:
        self.path = path
        self.resume = resume
        self._files = files
        self._plain = [f for f in files if not f.directory]
        self._whole = -1

    def prepare(self) -> None:
        """Create directories, and files in their full size, so that zero chunks are holes.

        :raises TargetNotEmpty: the directory has content, or a path in it is a symbolic link.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.resume and any(self.path.iterdir()):
            raise TargetNotEmpty(f"{self.path} is not empty.", hint="Give an empty or new directory.")
        if len(self._plain) > _MANY_FILES and can_sync_whole(self.path):
            # Opened before the first write, because write errors are reported only to descriptors opened before.
            self._whole = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for relative in _directories(self._files):
            _refuse_symlink(self.path / relative)
            (self.path / relative).mkdir(mode=0o700, exist_ok=True)
        for entry in self._plain:
            if self.resume:
                _refuse_symlink(self.path / entry.path)
            with opened(self.path / entry.path, os.O_RDWR | os.O_CREAT) as descriptor:
                os.ftruncate(descriptor, entry.size_bytes)
                if _early(entry):
                    os.fchmod(descriptor, entry.mode & 0o777)

    def make_durable(self, threads: int, cancelled: Callable[[], bool]) -> None:
        """Sync files, then directories from the deepest up, and set the modes that would have prevented writing."""
        whole = self._whole >= 0

        def settle(entry: FileEntry) -> None:
            with opened(self.path / entry.path, os.O_RDONLY) as descriptor:
                os.fchmod(descriptor, entry.mode & 0o777)
                if not whole:
                    os.fsync(descriptor)

        todo = [f for f in self._plain if not (whole and _early(f))]
        for _ in run_bounded(todo, settle, threads=threads, cancelled=cancelled):
            pass
        modes = {f.path: f.mode & 0o777 for f in self._files if f.directory}
        for relative in reversed(_directories(self._files)):
            with opened(self.path / relative, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                if not whole:
                    os.fsync(descriptor)
                os.fchmod(descriptor, modes.get(relative, 0o700))
        for directory in (self.path, self.path.parent):
            with opened(directory, os.O_RDONLY | os.O_DIRECTORY, follow=True) as descriptor:
                os.fsync(descriptor)
        if whole:
            sync_whole(self._whole)

    def close(self) -> None:
        """Close the descriptor for the sync."""
        if self._whole >= 0:
            os.close(self._whole)
            self._whole = -1

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Translate the errors of a full disk.

        :raises NodeFull: there is no space left.
        """
        try:
            yield
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise NodeFull(
                    f"No space left below {self.path} during the restore.",
                    hint="Free space or give a larger disk.",
                ) from exc
            raise


def _early(entry: FileEntry) -> bool:
    """Return whether the file's mode lets its owner write, so that it can be set before the content is written."""
    return entry.mode & _OWNER_WRITES == _OWNER_WRITES


def write_all(descriptor: int, data: Content, offset: int) -> None:
    """Write all of *data* at *offset*."""
    written = os.pwrite(descriptor, data, offset)
    if written == len(data):
        return
    view = memoryview(data)[written:]
    offset += written
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


@contextlib.contextmanager
def opened(path: Path, flags: int, *, follow: bool = False) -> Iterator[int]:
    """Open *path*, yield its descriptor, and close it.

    :param follow: follow a symbolic link instead of failing.
    """
    flags |= os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _directories(files: Iterable[FileEntry]) -> list[str]:
    """Return all directories, parents first, including those that only the path of a file implies."""
    found: set[str] = set()
    for entry in files:
        parts = entry.path.split("/")
        depth = len(parts) if entry.directory else len(parts) - 1
        found.update("/".join(parts[: i + 1]) for i in range(depth))
    return sorted(found)


def _refuse_symlink(path: Path) -> None:
    """Raise if *path* is a symbolic link; content of the target is no evidence against the backup.

    :raises TargetNotEmpty: it is one.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISLNK(os.lstat(path).st_mode):
            raise TargetNotEmpty(
                f"{path} is a symbolic link; a restore would write outside its directory.",
                hint="Give an empty directory.",
            )
