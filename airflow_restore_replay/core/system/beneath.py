"""A directory that is held open, and operations on what is below it that follow no link and leave it by no path."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from airflow_restore_replay.core.system.libc import LIBC, checked

#: permissions of others to write
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
# Source: openat2(2), and linux/openat2.h; the number is the same on all architectures that Python's wheels exist for.
_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
#: a kernel before Linux 5.6, or a filter of system calls that does not know it
_MISSING = (errno.ENOSYS, errno.EPERM, errno.EINVAL)
#: errors of a path with a symbolic link
LINK_ERRORS = (errno.ELOOP, errno.ENOTDIR, errno.EXDEV)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Beneath:
    """A directory and what is below it, by paths relative to its descriptor.

    So it does not matter whether somebody replaces the directory, or one below it, by a link meanwhile.

    :param path: the directory; it may be a link.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, _DIRECTORY | os.O_CLOEXEC)

    def below(self, relative: str) -> Beneath:
        """Return a directory below this one, held open for itself.

        :raises OSError: one of :data:`LINK_ERRORS` if the path has a symbolic link.
        """
        inner = object.__new__(Beneath)
        inner.path, inner.descriptor = self.path / relative, self.open(relative, _DIRECTORY)
        return inner

    def close(self) -> None:
        os.close(self.descriptor)

    def open(self, relative: str, flags: int) -> int:
        """Return a descriptor of a file or directory; a file is created with mode 0600.

        :raises OSError: one of :data:`LINK_ERRORS` if the path has a symbolic link.
        """
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        if _has_openat2():
            return _openat2(self.descriptor, relative, flags)
        with self.parent(relative) as (directory, name):
            return os.open(name, flags, 0o600, dir_fd=directory)

    @contextlib.contextmanager
    def opened(self, relative: str, flags: int) -> Iterator[int]:
        """Open as :meth:`open`, yield the descriptor, and close it."""
        descriptor = self.open(relative, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def parent(self, relative: str) -> Iterator[tuple[int, str]]:
        """Yield a descriptor of the directory that a path is in, and the last name of the path."""
        *parts, name = relative.split("/")
        if ".." in (*parts, name):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), relative)
        with contextlib.ExitStack() as stack:
            directory = self.descriptor
            for part in parts:
                directory = os.open(part, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                stack.callback(os.close, directory)
            yield directory, name

    def make_directory(self, relative: str) -> None:
        """Create a directory with mode 0700 if it is missing."""
        with self.parent(relative) as (directory, name), contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=directory)

    def remove(self, relative: str) -> None:
        """Remove a file or a link; idempotent."""
        with self.parent(relative) as (directory, name), contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)

    def replace(self, name: str, data: bytes) -> None:
        """Replace the file *name* of the directory itself, or a link in its place, with *data*."""
        temporary = f"{name}.tmp"
        self.remove(temporary)
        with self.opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            os.write(descriptor, data)
            os.fsync(descriptor)
        os.replace(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def move(self, name: str, target: Beneath) -> None:
        """Move an entry of the directory itself into *target*, under its name."""
        os.rename(name, name, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor)


def is_own(info: os.stat_result) -> bool:
    """Return whether only this account can write a file or directory, and if it is a file, by this one name."""
    shared = stat.S_ISREG(info.st_mode) and info.st_nlink > 1
    return info.st_uid == os.geteuid() and not info.st_mode & OTHERS_WRITE and not shared


@functools.cache
def _has_openat2() -> bool:
    here = os.open(".", _DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(_openat2(here, ".", _DIRECTORY | os.O_CLOEXEC))
    except OSError as exc:
        if exc.errno in _MISSING:
            return False
        raise
    finally:
        os.close(here)
    return True


def _openat2(directory: int, path: str, flags: int) -> int:
    how = _OpenHow(flags, 0o600 if flags & os.O_CREAT else 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)
    arguments = (_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    while True:
        with contextlib.suppress(InterruptedError):
            return checked(LIBC.syscall(*arguments), path)
