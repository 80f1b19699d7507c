"""Probe a host for replay nodes: write to its work directory, and run the programs of its servers."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.errors import NodeFull, PreflightFailed
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.registry import flavors
from airflow_restore_replay.core.flavor.values import ServerLayout
from airflow_restore_replay.core.system.files import replace_file, temporary_directory
from airflow_restore_replay.core.system.processes import run_program


def probe_node(workdir: str, bindir: str | None = None) -> str:
    """Create a directory with a file below *workdir*, and ask each flavor's programs for their release.

    :returns: the result, for people.
    :raises PreflightFailed: the work directory cannot be written, or no flavor's server is installed.
    :raises NodeFull: the work directory's disk is full.
    """
    parent = Path(workdir)
    try:
        with temporary_directory(parent) as scratch:
            replace_file(scratch / "file", b"probe")
            servers = _servers(ServerLayout.for_asking(scratch, bindir))
            free = shutil.disk_usage(scratch).free
    except OSError as exc:
        raise PreflightFailed(
            f"The work directory {workdir} on host {socket.gethostname()} cannot be written: {exc.strerror}.",
            hint="Create it for the worker's account, or set another workdir.",
        ) from exc
    if not free:
        raise NodeFull(f"The disk of {workdir} on host {socket.gethostname()} is full.")
    found = ", ".join(f"{name} server {release}" for name, release in servers.items())
    programs = ", ".join(
        _backup_program(flavor.backup_program, bindir) for flavor in _seeded_by_program(servers)
    )
    return (
        f"Host {socket.gethostname()}: {found}{', ' if programs else ''}{programs}; "
        f"{human_bytes(free)} free in {workdir}."
    )


def _servers(layout: ServerLayout) -> dict[str, str]:
    """Return the release of each flavor's server that is installed.

    :raises PreflightFailed: none is installed.
    """
    releases: dict[str, str] = {}
    lacking: list[str] = []
    for flavor in flavors():
        try:
            releases[flavor.name] = flavor.server(layout).release()
        except PreflightFailed as exc:
            lacking.append(exc.message)
    if not releases:
        raise PreflightFailed(
            " ".join(lacking),
            hint="Install the server of the primary's flavor, or set bindir to where it is.",
        )
    return releases


def _seeded_by_program(servers: Iterable[str]) -> list[Flavor]:
    return [flavor for flavor in flavors() if flavor.name in servers and flavor.backup_program]


def _backup_program(name: str, bindir: str | None) -> str:
    program = shutil.which(name, path=bindir) if bindir else shutil.which(name)
    if program is None:
        return f"no {name} (only physical seeds on this host need it)"
    done = run_program([program, "--version"], timeout_s=30)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return f"{name} {lines[-1].removeprefix(program).strip()}" if lines else f"{name} without a release"
