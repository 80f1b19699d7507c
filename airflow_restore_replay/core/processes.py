"""Processes that are not our children: identified by pid *and* start time, so that a reused pid is nobody."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def start_time(pid: int) -> str:
    """:returns: the process's start time in clock ticks since boot; ``""`` when it is gone or a zombie.

    Source: proc(5), ``/proc/[pid]/stat``, fields 3 and 22.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]


def is_running(pid: int, started: str) -> bool:
    """:returns: whether *pid* is still the process that began at *started*."""
    return bool(pid and started) and start_time(pid) == started


def terminate(pid: int, started: str, *, grace_s: float) -> None:
    """SIGTERM, wait up to *grace_s*, then SIGKILL; does nothing to a process that is another one."""
    for signum, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        if not is_running(pid, started):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        wait_for_exit(pid, started, timeout_s=wait_s)


def wait_for_exit(pid: int, started: str, *, timeout_s: float) -> bool:
    """:returns: whether the process is gone."""
    deadline = time.monotonic() + timeout_s
    while is_running(pid, started):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
