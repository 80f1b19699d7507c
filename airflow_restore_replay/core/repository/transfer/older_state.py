"""An older state of the files that are restored: chunks of it that are still right need not be fetched."""

from __future__ import annotations

import contextlib
import ctypes
import os

from airflow_restore_replay.core.system.beneath import Beneath
from airflow_restore_replay.core.system.files import allocated_bytes
from airflow_restore_replay.core.system.libc import LIBC

# Source: fallocate(2), linux/falloc.h
_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02


class OlderState:
    """A directory with an older state of the files.

    :param root: the directory.
    :param consumed: give the room of each chunk back once the new state has it, because there is no room for both.
    """

    def __init__(self, root: Beneath, *, consumed: bool = False) -> None:
        self._root = root
        self._consumed = consumed

    @property
    def room_bytes(self) -> int:
        """Return how much room it gives back, at most."""
        return allocated_bytes(self._root.path) if self._consumed else 0

    def read(self, path: str, offset: int, size_bytes: int) -> bytes | None:
        """Return what the older file has at that place; None if it has less, or there is none."""
        with (
            contextlib.suppress(OSError),
            self._root.opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor,
        ):
            present = os.pread(descriptor, size_bytes, offset)
            return present if len(present) == size_bytes else None
        return None

    def release(self, path: str, offset: int, size_bytes: int) -> None:
        """Give the room of a chunk back, unless the file has a second name, which may belong to a copy."""
        if not self._consumed:
            return
        with contextlib.suppress(OSError), self._root.opened(path, os.O_RDWR | os.O_NONBLOCK) as descriptor:
            if os.fstat(descriptor).st_nlink == 1:
                LIBC.fallocate(
                    descriptor,
                    _PUNCH_HOLE | _KEEP_SIZE,
                    ctypes.c_longlong(offset),
                    ctypes.c_longlong(size_bytes),
                )
