"""Processes that tests and the demo start, directly or not: how they are found again, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def end(process: subprocess.Popen[bytes], *, patience_s: float = 20.0) -> None:
    """Stop a child that this process started."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def marked(name: str, value: str) -> list[int]:
    """Return other processes whose environment has that variable; children inherit it."""
    wanted = f"{name}={value}".encode()
    return [pid for pid in pids() if wanted in _environment(pid)]


def pids() -> list[int]:
    """Return all other processes."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]


def sweep(find: Callable[[], list[int]]) -> list[int]:
    """End what *find* finds, until it finds nothing.

    :returns: what there was at first.
    """
    found = find()
    for sig, patience_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        for pid in find():
            signal_if_there(pid, sig)
        deadline = time.monotonic() + patience_s
        while find() and time.monotonic() < deadline:
            time.sleep(0.1)
    return found


def signal_if_there(pid: int, sig: signal.Signals) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return


def command_line(pid: int) -> str:
    """Return what the process calls itself; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def session_of(pid: int) -> int:
    """Return its session's leader, -1 when it is gone or a zombie."""
    try:
        return os.getsid(pid) if command_line(pid) else -1
    except ProcessLookupError:
        return -1


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # ended meanwhile, or another user's
        return []
