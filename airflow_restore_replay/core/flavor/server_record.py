"""The record of a node's server process.

It is not in the run directory, which the server writes to: its SQL can name a file there, for a log say, and so could
change which process is killed or which files are removed. A record that cannot be read counts as absent. The server is
then still found by the environment that it was started with
(:func:`~airflow_restore_replay.core.system.processes.started_for`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.system.files import is_own_directory, read_own_file, replace_file
from airflow_restore_replay.core.system.processes import ProcessId, terminate

#: name of the directory, beside the run directory
DIRECTORY = "agent"
_FILE = "server.json"
_STARTING = "starting"
_START_S, _POLL_S = 60.0, 0.02
# sockaddr_un has 108 bytes.
_SOCKET_PATH_MAX = 100
_SOCKET = "s"
#: of directories with short paths, for sockets and for the installer of a data directory
SHORT_DIRECTORY = Path("/tmp")
PREFIX = "restore-replay-"


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the server that was started last.

    :param socket: path of its socket.
    :param log_offset: size of its log when it was started.
    :param stopped: it was stopped cleanly.
    :param argv: its command.
    """

    process: ProcessId
    socket: str
    log_offset: int
    stopped: bool = False
    argv: tuple[str, ...] = ()


def save(run_dir: Path, record: ServerRecord) -> None:
    """Replace the record of the server of *run_dir*."""
    directory = run_dir.with_name(DIRECTORY)
    directory.mkdir(mode=0o700, exist_ok=True)
    # Read-only even for this account, as which the server runs, too.
    replace_file(directory / _FILE, encode(record), mode=0o400)


def load(run_dir: Path) -> ServerRecord | None:
    """Return the record of the server of *run_dir*; None if there is none or it cannot be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError, RecursionError):
        return decode(read_own_file(run_dir.with_name(DIRECTORY) / _FILE), ServerRecord)
    return None


def recorded(run_dir: Path) -> ProcessId | None:
    """Return the process of the server that was started last, which may be gone; None if none is known."""
    record = load(run_dir)
    return record.process if record else None


@contextlib.contextmanager
def starting(run_dir: Path) -> Iterator[None]:
    """Hold a lock while the server of *run_dir* is started and recorded.

    The new process holds it, too, until it runs the server's program. So it is held on if this process is killed
    before that, when neither a record nor an environment tells what the new process will be.
    """
    directory = run_dir.with_name(DIRECTORY)
    directory.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(directory / _STARTING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _await_start(run_dir: Path) -> None:
    """Wait until no process is about to become the server of *run_dir*."""
    try:
        descriptor = os.open(
            run_dir.with_name(DIRECTORY) / _STARTING, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        )
    except OSError:
        return  # none was ever started
    deadline = time.monotonic() + _START_S
    try:
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return
            time.sleep(_POLL_S)
    finally:
        os.close(descriptor)


def kill_recorded(run_dir: Path) -> None:
    """Kill the recorded server, of any flavor, and remove what must not outlive it; idempotent.

    A server that a killed process had started without a record is found by its environment afterwards.
    """
    _await_start(run_dir)
    record = load(run_dir)
    if record is not None:
        terminate(record.process, sig=signal.SIGKILL, timeout_s=60)
    remove_traces(run_dir, record)


def socket_path(run_dir: Path) -> Path:
    """Return a path for the server's socket: in *run_dir*, or in a new directory if that path would be too long."""
    socket = run_dir / _SOCKET
    if len(str(socket).encode()) <= _SOCKET_PATH_MAX:
        return socket
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=SHORT_DIRECTORY)) / _SOCKET


def password_file(run_dir: Path) -> Path:
    """Return the file with the password of the agent's account."""
    return run_dir / "agent-password"


def remove_traces(run_dir: Path, record: ServerRecord | None) -> None:
    """Remove the passwords and the socket of a server that has ended."""
    password_file(run_dir).unlink(missing_ok=True)
    # MariaDB stores the primary's password there, in clear.
    (run_dir / "relay" / "master.info").unlink(missing_ok=True)
    (run_dir / _SOCKET).unlink(missing_ok=True)
    if record is not None and Path(record.socket).parent != run_dir:
        _remove_short_directory(Path(record.socket).parent)


def _remove_short_directory(directory: Path) -> None:
    """Remove a directory that :func:`socket_path` made, and no other; the path was stored, so not recursively."""
    made_here = directory.parent == SHORT_DIRECTORY and directory.name.startswith(PREFIX)
    if made_here and is_own_directory(directory):
        with contextlib.suppress(OSError):
            for entry in directory.iterdir():
                entry.unlink()
            directory.rmdir()
