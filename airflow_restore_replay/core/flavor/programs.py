"""Find a server's programs and libraries, and run the one that creates a data directory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from airflow_restore_replay.core.errors import NodeFull, PreflightFailed, SeedFailed
from airflow_restore_replay.core.flavor.classify import disk_full
from airflow_restore_replay.core.flavor.program_output import last_line
from airflow_restore_replay.core.system.processes import run_program


def find_program(name: str, bindir: Path | None, *, package: str) -> str:
    """Return the path of a program.

    :param bindir: the only place where it may be; None for the places where packages install it.
    :raises PreflightFailed: it is not installed; the error names the package.
    """
    found = shutil.which(name, path=str(bindir)) if bindir else shutil.which(name)
    found = found or (None if bindir else shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin"))
    if not found:
        raise PreflightFailed(
            f"The program {name} is not installed{f' in {bindir}' if bindir else ''}.",
            hint=f"Install the package {package} on the node, or set node.bindir.",
        )
    return found


def library_roots(bindir: Path | None) -> Sequence[Path]:
    """Return the directories in which plugins of the server are looked for."""
    return (
        [bindir.parent / "lib"] if bindir else [Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib")]
    )


def run_installer(command: Sequence[str]) -> None:
    """Run the program that creates a data directory.

    :raises NodeFull: the disk is full.
    :raises SeedFailed: it failed for another reason.
    """
    done = run_program(command)
    if done.returncode:
        text = done.stdout + done.stderr
        raise (NodeFull if disk_full(text) else SeedFailed)(
            f"{Path(command[0]).name} cannot create the data directory, status {done.returncode}: {last_line(text)}"
        )
