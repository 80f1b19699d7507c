"""Detached processes that any process of the same user can watch and end.

A process is identified by its pid *and* the kernel's start time, so that a reused pid is never mistaken for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from airflow_restore_replay.core.system.confinement import Confinement, run_confined
from airflow_restore_replay.core.system.libc import LIBC

#: module that runs a node's jobs; a job's arguments are ``… -m AGENT_MODULE run <node> …``
AGENT_MODULE = "airflow_restore_replay.core.agent"
#: environment variable that names the node a process was started for; child processes inherit it
NODE = "RESTORE_REPLAY_NODE"
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", NODE)
# MySQL's programs let this file override every option file; without HOME and with this name, none is found.
_NO_LOGIN_FILE = {"MYSQL_TEST_LOGIN_FILE": "/dev/null/none"}
_POLL_S = 0.02
#: the kernel needs microseconds to load a program
_EXEC_S = 5.0
# Source: prctl(2), linux/prctl.h
_PR_SET_DUMPABLE = 4


class ProcessId(msgspec.Struct, frozen=True):
    """Identity of a process.

    :param started: field 22 of ``/proc/<pid>/stat``, in clock ticks since boot; 0 for a process that is gone.
    """

    pid: int
    started: int


def program_environment() -> dict[str, str]:
    """Return the environment for a server's programs, in which nothing chooses another server or account.

    Only a few variables are passed on, because the caller's environment may hold credentials.
    """
    return {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ} | _NO_LOGIN_FILE


def run_program(
    argv: Sequence[str], *, stdin: IO[bytes] | None = None, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a server's program to its end."""
    return subprocess.run(
        argv,
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=program_environment(),
        timeout=timeout_s,
        check=False,
    )


def spawn(
    argv: Sequence[str],
    log_path: Path,
    confinement: Confinement | None = None,
    environment: Mapping[str, str] | None = None,
) -> ProcessId:
    """Start *argv* in its own session, so that it outlives its caller; output goes to *log_path*.

    :param confinement: what the process may use of the host; None if it is not confined.
    :param environment: what it has beside the environment of all programs.
    :raises OSError: the program cannot be started, or the kernel refuses the confinement.
    """
    whole = {**program_environment(), **(environment or {})}
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log_path), log_flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]

    def start() -> int:
        return os.posix_spawn(argv[0], list(argv), whole, file_actions=actions, setsid=True)

    return identify(run_confined(confinement, start) if confinement else start())


def protect_memory() -> None:
    """Keep other processes of this account from reading this process's memory, where passwords and keys are.

    The node's server has the same account. Without this, a server that an attacker controls could read them.
    """
    LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def identify(pid: int) -> ProcessId:
    """Return the identity of the process that has *pid* now."""
    stat = _stat(pid)
    return ProcessId(pid, int(stat[19]) if stat else 0)


def started_for(node: Path) -> list[ProcessId]:
    """Return the processes that were started for *node*, even if no state file names them, except this process.

    A job's process has a protected memory, so its environment cannot be read. It is found by its arguments.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if int(entry.name) == os.getpid() or not _is_own(entry):
                continue
            _await_program(entry)
            if _is_for(entry, node):
                found.append(identify(int(entry.name)))
    return [process for process in found if running(process)]


def _is_own(entry: Path) -> bool:
    """Return whether a process has this account; anybody can give a process any arguments."""
    lines = (entry / "status").read_text(errors="replace").splitlines()
    return any(line.split()[1:2] == [str(os.geteuid())] for line in lines if line.startswith("Uid:"))


def _await_program(entry: Path) -> None:
    """Wait until a process that is about to run another program has its arguments and environment."""
    deadline = time.monotonic() + _EXEC_S
    while time.monotonic() < deadline:
        with contextlib.suppress(PermissionError):
            if (entry / "cmdline").read_bytes() or (entry / "environ").read_bytes():
                return
            os.readlink(entry / "exe")  # fails for threads of the kernel, which have neither
            time.sleep(_POLL_S)
            continue
        return


def _is_for(entry: Path, node: Path) -> bool:
    arguments = f"\0{AGENT_MODULE}\0run\0{node}\0".encode()
    if arguments in (entry / "cmdline").read_bytes():
        return True
    with contextlib.suppress(PermissionError):
        return f"{NODE}={node}".encode() in (entry / "environ").read_bytes().split(b"\0")
    return False


def running(process: ProcessId) -> bool:
    """Return whether *process* still runs; a zombie does not."""
    # A child of this process stays a zombie until it is waited for; waiting for other processes fails.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    stat = _stat(process.pid)
    return stat is not None and stat[0] not in ("Z", "X") and int(stat[19]) == process.started


def terminate(process: ProcessId, *, sig: signal.Signals, timeout_s: float) -> bool:
    """Send *sig* and wait for the end of *process*; another process that reuses the pid gets no signal.

    :returns: whether the process is gone.
    """
    if running(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, sig)
    deadline = time.monotonic() + timeout_s
    while running(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def end(process: ProcessId, *, grace_s: float) -> None:
    """Send SIGTERM, and SIGKILL if *process* still runs after *grace_s* seconds."""
    if not terminate(process, sig=signal.SIGTERM, timeout_s=grace_s):
        terminate(process, sig=signal.SIGKILL, timeout_s=10.0)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of the process after its command name, which may contain spaces; None if it is gone.

    Source: proc(5).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
