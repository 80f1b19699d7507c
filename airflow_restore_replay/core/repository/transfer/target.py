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
from airflow_restore_replay.core.system.beneath import LINK_ERRORS, Beneath, is_own
from airflow_restore_replay.core.system.files import fsync_directory
from airflow_restore_replay.core.system.filesystem import can_sync_whole, sync_whole
from airflow_restore_replay.core.system.parallel import run_bounded

#: for more files than this, syncing the whole file system is cheaper than syncing each file
_MANY_FILES = 64
_OWNER_WRITES = 0o600


class Target:
    """The target directory of a restore.

    :param path: the directory; it is created if it is missing.
    :param files: entries of the backup's file list.
    :param resume: the directory may have content.
    :param held: the directory, if the caller holds it open.
    :param marker: file in it that is not content.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[FileEntry],
        *,
        resume: bool,
        held: Beneath | None = None,
        marker: str = "",
    ) -> None:
        self.path = path
        self.resume = resume
        self._files = files
        self._plain = [f for f in files if not f.directory]
        self._is_held = held is not None
        self._marker = marker
        self._whole = False
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Opened before the first write, because a sync of the whole file system reports write errors only to
        # descriptors opened before.
        self._root = held or Beneath(path)

    def prepare(self) -> None:
        """Create directories, and files in their full size, so that zero chunks are holes.

        :raises TargetNotEmpty: the directory has content, or a path in it is a symbolic link.
        """
        if not self.resume and {*os.listdir(self._root.descriptor)} - {self._marker}:
            raise TargetNotEmpty(f"{self.path} is not empty.", hint="Give an empty or new directory.")
        self._whole = len(self._plain) > _MANY_FILES and can_sync_whole(self.path)
        for relative in _directories(self._files):
            with self._refusing_links(relative):
                self._root.make_directory(relative)
        for entry in self._plain:
            with self._refusing_links(entry.path):
                descriptor = self._reusable(entry.path) if self.resume else -1
                if descriptor < 0:
                    descriptor = self._root.open(entry.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            try:
                os.ftruncate(descriptor, entry.size_bytes)
                if _early(entry):
                    os.fchmod(descriptor, entry.mode & 0o777)
            finally:
                os.close(descriptor)

    def open(self, relative: str, flags: int = os.O_RDWR) -> int:
        """Return a descriptor of a file or directory of the backup.

        :raises TargetNotEmpty: its path has a symbolic link, which somebody put there meanwhile.
        """
        with self._refusing_links(relative):
            return self._root.open(relative, flags)

    def make_durable(self, threads: int, cancelled: Callable[[], bool]) -> None:
        """Sync files, then directories from the deepest up, and set the modes that would have prevented writing."""

        def settle(entry: FileEntry) -> None:
            with closing(self.open(entry.path, os.O_RDONLY)) as descriptor:
                os.fchmod(descriptor, entry.mode & 0o777)
                if not self._whole:
                    os.fsync(descriptor)

        todo = [f for f in self._plain if not (self._whole and _early(f))]
        for _ in run_bounded(todo, settle, threads=threads, cancelled=cancelled):
            pass
        modes = {f.path: f.mode & 0o777 for f in self._files if f.directory}
        for relative in reversed(_directories(self._files)):
            with closing(self.open(relative, os.O_RDONLY | os.O_DIRECTORY)) as descriptor:
                if not self._whole:
                    os.fsync(descriptor)
                os.fchmod(descriptor, modes.get(relative, 0o700))
        os.fsync(self._root.descriptor)
        fsync_directory(self.path.parent)
        if self._whole:
            sync_whole(self._root.descriptor)

    def close(self) -> None:
        """Close the directory, unless the caller holds it."""
        if not self._is_held:
            self._root.close()

    def _reusable(self, relative: str) -> int:
        """Return a descriptor of the file that is there; -1 if a new one is needed.

        A file with a second name is replaced, because that name may belong to a copy that somebody keeps, and so is one
        that another account may write.
        """
        try:
            descriptor = self._root.open(relative, os.O_RDWR | os.O_NONBLOCK)
        except FileNotFoundError:
            return -1
        info = os.fstat(descriptor)
        if stat.S_ISREG(info.st_mode) and is_own(info):
            return descriptor
        os.close(descriptor)
        self._root.remove(relative)
        return -1

    @contextlib.contextmanager
    def _refusing_links(self, relative: str) -> Iterator[None]:
        """Translate the errors of a path with a link; the target's content is no evidence against the backup.

        :raises TargetNotEmpty: there is a link, or a file that was not there before.
        """
        try:
            yield
        except FileExistsError as exc:
            raise TargetNotEmpty(
                f"{self.path / relative} was created by somebody else during the restore.",
                hint="Give an empty directory.",
            ) from exc
        except OSError as exc:
            if exc.errno not in LINK_ERRORS:
                raise
            raise TargetNotEmpty(
                f"{self.path / relative} is a symbolic link or is behind one; a restore would write outside its "
                "directory.",
                hint="Give an empty directory.",
            ) from exc

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
def closing(descriptor: int) -> Iterator[int]:
    """Yield *descriptor*, and close it."""
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
