"""Memory allocator settings of a job's process."""

from __future__ import annotations

import contextlib

from airflow_restore_replay.core.system.libc import LIBC

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 2**20


def give_large_blocks_back() -> None:
    """Make glibc return blocks of 1 MiB and more to the system when they are freed, from now on.

    Chunks and their encoded forms are blocks of that size. Without the setting, glibc raises its threshold when the
    first one is freed (mallopt(3): the threshold is dynamic unless it is set) and keeps later ones in its heaps, which
    then grow with the number of chunks. Other C libraries lack mallopt, and nothing is set.
    """
    with contextlib.suppress(AttributeError):
        LIBC.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
