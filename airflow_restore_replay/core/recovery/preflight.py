"""What a restore needs of this host, examined before a byte is written; ``--dry-run`` shows it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.errors import ConfinementUnavailable, PreflightFailed
from airflow_restore_replay.core.flavor import confine
from airflow_restore_replay.core.flavor.findings import Finding, Severity
from airflow_restore_replay.core.flavor.variables import BIRTH
from airflow_restore_replay.core.jobs.preconditions import examine_room, finding_of
from airflow_restore_replay.core.jobs.room import bytes_of_servers
from airflow_restore_replay.core.recovery.copy_server import CopyRequest, CopyServer
from airflow_restore_replay.core.recovery.source import examine_source
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.system.files import allocated_bytes

#: memory of a server beside its buffer pool
_SERVER_BYTES = 200 * 2**20
_MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True)
class Needs:
    """What is examined.

    :param target: the data directory to be.
    :param size_bytes: that the restored files occupy.
    :param examine_target: raises if the target is unsuitable.
    :param copy: how the copy is to run; None if no server is started on it.
    :param replay_bytes: room that replaying archived logs needs beside the files, for the logs and for two servers;
        None if nothing is replayed.
    """

    cluster: Cluster
    manifest: Manifest
    target: Path
    size_bytes: int
    examine_target: Callable[[], object]
    copy: CopyRequest | None = None
    replay_bytes: int | None = None

    @property
    def disk_bytes(self) -> int:
        if self.replay_bytes is not None:
            return self.size_bytes + self.replay_bytes
        return bytes_of_servers(self.server.flavor, self.size_bytes, servers=1 if self.copy else 0)

    @property
    def servers(self) -> int:
        """Return how many servers run at once: one that replays does so from another."""
        return 2 if self.replay_bytes is not None else 1 if self.copy else 0

    @property
    def server(self) -> CopyServer:
        return CopyServer(self.cluster, self.manifest, self.target, self.copy or CopyRequest())


def examine(needs: Needs) -> list[Finding]:
    """Return the findings about target, server and network; nothing is changed."""
    found = [_target(needs), _room(needs), _release(needs), _page_size(needs), *_plugins(needs)]
    if needs.servers:
        found += [_memory(needs), _confinement(needs)]
    if needs.copy:
        found.append(_home(needs))
        if needs.copy.port:
            found.append(_port(needs.copy.bind, needs.copy.port))
        if needs.copy.source:
            found += examine_source(needs.server.flavor, needs.copy.source, needs.manifest)
    return found


def _target(needs: Needs) -> Finding:
    def fits() -> str:
        needs.examine_target()
        return str(needs.target)

    return finding_of(
        "target", "directory", fits, expected="empty, new, or an interrupted restore of the same"
    )


def _room(needs: Needs) -> Finding:
    fix = "Free space there, or restore to another disk."
    held = held_bytes(needs.target)
    return examine_room("target", needs.target, needs.disk_bytes, held_bytes=held, fix=fix)


def held_bytes(target: Path) -> int:
    """Return how much of the disk *target* occupies already."""
    return allocated_bytes(target) if target.is_dir() else 0


def free_bytes(target: Path) -> int:
    """Return the room for *target*, which need not exist yet."""
    return shutil.disk_usage(existing_parent(target)).free + held_bytes(target)


def existing_parent(path: Path) -> Path:
    """Return *path*, or the nearest directory above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())


def _release(needs: Needs) -> Finding:
    """Examine the installed server; without one, files can be restored, but no server can be started."""
    copy, backup = needs.server, needs.manifest.server_release

    def fits() -> str:
        release = copy.server.release()
        copy.flavor.refuse_release(backup=backup, node=release, primary=release)
        return f"{copy.server.server_program} {release}"

    found = finding_of("server", "release", fits, expected=f"{backup} or newer")
    if found.severity is Severity.REFUSED and not needs.servers:
        return Finding(
            subject="server",
            name="release",
            severity=Severity.WARNING,
            observed=found.observed,
            expected=found.expected,
            fix="The files can be restored here; start them on a host that has it.",
        )
    return found


def _page_size(needs: Needs) -> Finding:
    values = {name: needs.manifest.variables.get(name, usual) for name, usual in BIRTH.items()}
    shown = ", ".join(f"{name}={text}" for name, text in values.items())
    return Finding(
        subject="server",
        name="made with",
        severity=Severity.OK,
        observed=shown,
        expected="any; restored.cnf sets it",
    )


def _plugins(needs: Needs) -> list[Finding]:
    return [
        Finding(
            subject="server",
            name=f"plugin {name}",
            severity=Severity.WARNING,
            observed="not installed",
            expected="installed, as on the primary",
            fix=f"Install the package with {name}.so.",
        )
        for name in needs.server.server.lacking(needs.manifest.variables)
    ]


def _memory(needs: Needs) -> Finding:
    available = _available_bytes()
    wanted = needs.cluster.node.buffer_pool + needs.servers * _SERVER_BYTES
    enough = available is None or available >= wanted
    return Finding(
        subject="server",
        name="memory",
        severity=Severity.OK if enough else Severity.REFUSED,
        observed="unknown" if available is None else f"{human_bytes(available)} available",
        expected=f"at least {human_bytes(wanted)}",
        fix="" if enough else "Lower node.buffer_pool.",
    )


def _available_bytes() -> int | None:
    for line in _MEMORY.read_text(encoding="ascii").splitlines() if _MEMORY.exists() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _confinement(needs: Needs) -> Finding:
    policy = needs.cluster.node.confine
    held = confine.confines(policy) or policy != "require"
    return Finding(
        subject="server",
        name="confinement",
        severity=Severity.OK if held else Severity.REFUSED,
        observed=confine.describe(policy),
        expected=policy,
        fix="" if held else ConfinementUnavailable.advice,
        error=ConfinementUnavailable.__name__,
    )


def _home(needs: Needs) -> Finding:
    copy = needs.server

    def fits() -> str:
        copy.refuse_home()
        return str(copy.home)

    return finding_of("server", "other files", fits, expected="a directory beside the target")


def _port(bind: str, port: int) -> Finding:
    return finding_of("server", "port", partial(_bound, bind, port), expected="free")


def _bound(bind: str, port: int) -> str:
    """Bind the port as a server would.

    :raises PreflightFailed: another program has it.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except (OSError, OverflowError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise PreflightFailed(
                f"The port {port} on {bind} is not free: {reason}.", hint="Give another one with --port."
            ) from exc
    return f"{bind}:{port}"
