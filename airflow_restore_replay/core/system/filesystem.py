"""System calls that Python's os module lacks: find out a path's file system type, and sync a whole file system."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from airflow_restore_replay.core.system.libc import LIBC, checked

#: local file systems with reliable timestamps and inode numbers, by the magic number of statfs(2)
_KNOWN = {0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0x01021994: "tmpfs"}
_STATFS_BYTES = 256
#: since this Linux release syncfs(2) reports write errors
_SYNCFS_SINCE = (5, 8)


def known_file_system(path: Path) -> str | None:
    """Return ``ext4``, ``xfs``, ``btrfs`` or ``tmpfs``; None for any other, and if it cannot be determined."""
    if not sys.platform.startswith("linux"):
        return None
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if LIBC.statfs(os.fsencode(path), buffer) != 0:
        return None
    magic = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_long))[0]
    return _KNOWN.get(magic & 0xFFFFFFFF)


def can_sync_whole(path: Path) -> bool:
    """Return whether :func:`sync_whole` is as reliable as fsync of each file.

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
    """Write all data of a file system to its medium.

    :param descriptor: open on that file system since before the first write that must be covered.
    :raises OSError: some data could not be written.
    """
    checked(LIBC.syncfs(descriptor))
