"""Crash-safe, private files: replace them atomically, fsync, lock, and remove directories again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from airflow_restore_replay.core.errors import NodeFull
from airflow_restore_replay.core.system.beneath import OTHERS_WRITE, is_own


def replace_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace *path* with *data* by temporary file, fsync, rename and fsync of the directory.

    :param mode: permissions; with 0400, another program of the same account cannot append to the file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def read_own_file(path: Path) -> bytes:
    """Return the content of a file that only this account can have written.

    :raises OSError: there is none, or it is a link, belongs to another account, or others may write it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or not is_own(info):
            raise PermissionError(f"{path} may have been written by another account")
        return stream.read()


def is_own_directory(path: Path) -> bool:
    """Return whether *path* is a directory, and no link to one, that only this account can write."""
    try:
        info = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and is_own(info)


def others_may_write(path: Path) -> str:
    """Return how another account, except for root, could replace entries of the directory *path*; empty if it cannot.

    In a directory with the sticky bit, an entry can be replaced by its owner only.
    """
    info = path.stat()
    if info.st_uid not in (os.geteuid(), 0):
        return f"it belongs to the account with the uid {info.st_uid}"
    if info.st_mode & OTHERS_WRITE and not info.st_mode & stat.S_ISVTX:
        return f"other accounts may write to it (mode {stat.S_IMODE(info.st_mode):04o})"
    return ""


def fsync_directory(path: Path) -> None:
    """Write the entries of the directory *path* to its medium."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on *path*, which the kernel releases when the holder dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> str:
    """Create *path* and its missing parents, with mode 0700.

    :returns: the topmost directory that was created, for :func:`remove_made`; empty when all existed.
    """
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(missing[-1]) if missing else ""


def remove_made(path: Path, made: str) -> None:
    """Remove *path* and its parents up to *made*; stop at the first directory that is not empty."""
    for directory in (path, *path.parents):
        try:
            directory.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return  # it holds other files, or another node
        if str(directory) == made:
            return


@contextlib.contextmanager
def temporary_directory(parent: Path) -> Iterator[Path]:
    """Yield a directory below *parent*, and remove it afterwards.

    *parent* is created if it is missing, and then removed as well.
    """
    made = make_directory(parent)
    try:
        with tempfile.TemporaryDirectory(prefix=".scratch-", dir=parent) as directory:
            yield Path(directory)
    finally:
        if made:
            remove_made(parent, made)


def empty_directory(path: Path) -> None:
    """Remove the content of *path*, but not *path* itself; symbolic links are removed, never followed."""
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def allocated_bytes(directory: Path) -> int:
    """Return how many bytes the files below *directory* occupy on disk."""
    total = 0
    # A server or a job may delete files and directories meanwhile; the latter os.walk leaves out.
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                info = os.lstat(os.path.join(folder, name))
                total += info.st_blocks * 512 if stat.S_ISREG(info.st_mode) else 0
    return total


def require_space(place: Path, needed_bytes: int, *, what: str, hint: str, held_bytes: int = 0) -> None:
    """Refuse to begin what the file system of *place* has no room for.

    :param what: what needs the room, for the message.
    :param held_bytes: what the result takes of the disk already.
    :raises NodeFull: there is not enough.
    """
    free_bytes = shutil.disk_usage(place).free + held_bytes
    if free_bytes < needed_bytes:
        raise NodeFull(
            f"{what} needs {needed_bytes / 1e6:,.1f} MB; {place} has {free_bytes / 1e6:,.1f} MB free.",
            hint=hint,
        )
