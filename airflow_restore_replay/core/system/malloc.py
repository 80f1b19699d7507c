"""The memory of a job's process."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 2**20


def give_large_blocks_back() -> None:
    """Have blocks of a MiB and more returned to the system when they are freed, from now on.

    Chunks, and what becomes of them, are such blocks. Once it has seen one freed, glibc keeps them in its heaps
    (mallopt(3): the threshold is dynamic unless it is set), which then grow with the number of chunks. Other C
    libraries have no such setting, and are left alone.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
