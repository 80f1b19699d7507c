"""Ask a host whether replay nodes can live there, by doing it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from airflow_restore_replay.core.errors import NodeFull, PreflightFailed
from airflow_restore_replay.core.files import replace_file
from airflow_restore_replay.core.flavor.base import ServerLayout
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.units import human_bytes


def probe_node(workdir: str, bindir: str | None = None, *, flavor: str = "mariadb") -> str:
    """Make a directory with a file below *workdir*, and ask the server's programs for their release.

    :returns: what was found, for people.
    :raises PreflightFailed: the work directory cannot be written, or the server is not installed.
    """
    parent = Path(workdir)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=parent) as made:
            replace_file(Path(made) / "file", b"probe")
            layout = _layout(Path(made), bindir)
            release = get_flavor(flavor).server(layout).release()
        free = shutil.disk_usage(parent).free
    except OSError as exc:
        raise PreflightFailed(
            f"The work directory {workdir} on host {socket.gethostname()} cannot be written: {exc.strerror}.",
            hint="Create it for the worker's account, or set another workdir.",
        ) from exc
    if not free:
        raise NodeFull(f"The disk of {workdir} on host {socket.gethostname()} is full.")
    return (
        f"Host {socket.gethostname()}: {flavor} server {release}, {_backup_program(flavor, bindir)}; "
        f"{human_bytes(free)} free in {workdir}."
    )


def _layout(root: Path, bindir: str | None) -> ServerLayout:
    return ServerLayout(
        datadir=root / "data",
        run_dir=root,
        tmp_dir=root,
        log_path=root / "log",
        plugin_dir=root / "plugins",
        bindir=Path(bindir) if bindir else None,
    )


def _backup_program(flavor: str, bindir: str | None) -> str:
    name = get_flavor(flavor).backup_program
    if not name:
        return "which copies itself"
    program = shutil.which(name, path=bindir) if bindir else shutil.which(name)
    if program is None:
        return f"no {name} (only physical seeds on this host need it)"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=30)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return f"{name} {lines[-1].removeprefix(program).strip()}" if lines else f"{name} without a release"
