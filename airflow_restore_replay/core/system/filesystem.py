"""What Python's os module does not offer: which file system a path is on, and syncing a whole one."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path

#: local file systems whose time stamps and inode numbers can be relied on, by statfs(2)'s magic number
_KNOWN = {0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0x01021994: "tmpfs"}
_STATFS_BYTES = 256
#: since then syncfs(2) reports what could not be written
_SYNCFS_SINCE = (5, 8)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def known_file_system(path: Path) -> str | None:
    """:returns: ``ext4``, ``xfs``, ``btrfs`` or ``tmpfs``; None for any other, and where nobody can tell."""
    if not sys.platform.startswith("linux"):
        return None
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc().statfs(os.fsencode(path), buffer) != 0:
        return None
    magic = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_long))[0]
    return _KNOWN.get(magic & 0xFFFFFFFF)


def can_sync_whole(path: Path) -> bool:
    """:returns: whether :func:`sync_whole` is as good as syncing each file.

    Source: syncfs(2): errors of files written since the descriptor was opened are reported from Linux 5.8 on.
    """
    if known_file_system(path) is None:
        return False
    release = os.uname().release.split(".")
    try:
        return (int(release[0]), int(release[1].split("-")[0])) >= _SYNCFS_SINCE
    except (IndexError, ValueError):
        return False


def sync_whole(descriptor: int) -> None:
    """Write all of a file system to its medium.

    :param descriptor: open on it since before the first write that must be covered.
    :raises OSError: something could not be written.
    """
    if _libc().syncfs(descriptor) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
