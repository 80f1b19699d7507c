"""A directory for a copy that only this command needs; the next one removes what a killed command has left."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from airflow_restore_replay.core.recovery.copy_server import SUFFIX, end_server
from airflow_restore_replay.core.system.files import is_own_directory, make_directory, remove_made
from airflow_restore_replay.core.system.processes import ProcessId, identify, running

_PREFIX = ".restore-"


@contextlib.contextmanager
def scratch_directory(workdir: Path) -> Iterator[Path]:
    """Yield a private directory below *workdir*, and remove it with everything in it.

    A server in it must have been ended, except after a crash of this process.
    """
    made = make_directory(workdir)
    _remove_left(workdir)
    me = identify(os.getpid())
    path = workdir / f"{_PREFIX}{me.pid}-{me.started}"
    try:
        path.mkdir(mode=0o700)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if made:
            remove_made(workdir, made)


def _remove_left(workdir: Path) -> None:
    """End the servers, and remove the directories, of commands that are gone."""
    for path in workdir.glob(f"{_PREFIX}*-*"):
        pid, _, started = path.name.removeprefix(_PREFIX).partition("-")
        if not (pid.isdigit() and started.isdigit()) or not is_own_directory(path):
            continue
        if running(ProcessId(int(pid), int(started))):
            continue
        for server in path.glob(f"*{SUFFIX}"):
            end_server(server)
        shutil.rmtree(path, ignore_errors=True)
