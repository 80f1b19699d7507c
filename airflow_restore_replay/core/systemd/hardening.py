"""What the service of a cluster may touch: directories, sockets and system calls."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster

#: the directory of `StateDirectory=`, which systemd makes for the service's account
STATE_DIRECTORY = Path("/var/lib/restore-replay")

_ALWAYS = """\
NoNewPrivileges=true
ProtectSystem=strict
PrivateDevices=true
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectProc=invisible
LockPersonality=true
RemoveIPC=true
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
# Landlock: the kernel confines the server of a node, too.
SystemCallFilter=@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self
CapabilityBoundingSet=
UMask=0077"""


@dataclass(frozen=True)
class Access:
    """Paths that a service needs.

    :param writes: directories that it writes to.
    :param reads: files and directories that it only reads.
    """

    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the lines of the unit that allow this, and nothing else."""
        state = [path for path in self.writes if is_below(path, STATE_DIRECTORY)]
        others = sorted({path for path in self.writes if path not in state})
        lines = _ALWAYS.splitlines()
        lines.append(
            f"ProtectHome={'read-only' if self._any_below('/home', '/root', '/run/user') else 'true'}"
        )
        if not self._any_below("/tmp", "/var/tmp"):
            lines.append("PrivateTmp=true")
        if state:
            lines.append(f"StateDirectory={STATE_DIRECTORY.name}")
        lines += [f"ReadWritePaths={quoted(path)}" for path in others]
        return lines

    def _any_below(self, *parents: str) -> bool:
        return any(is_below(path, Path(parent)) for path in (*self.writes, *self.reads) for parent in parents)


def access_of(cluster: Cluster, kind: str, *files: str) -> Access:
    """Return what the service *kind* of *cluster* needs.

    :param files: further files that it reads.
    """
    repository = _directory(cluster)
    workdir = cluster.node.workdir
    spool = cluster.archive.spool or os.path.join(workdir, "spool")
    own_nodes = cluster.node.runtime == "process"
    writes = {
        "freshness": (),
        "archive": (spool, *repository),
        "cycle": (
            *((workdir,) if own_nodes else ()),
            *((spool,) if cluster.archive.keep else ()),
            *repository,
        ),
    }[kind]
    optional = (cluster.primary.password_file, cluster.node.bindir, cluster.ping.url_file)
    return Access(writes, (*files, *repository, *cluster.primary.tls_files, *filter(None, optional)))


def _directory(cluster: Cluster) -> tuple[str, ...]:
    """Return the directory of a repository that is one."""
    url = cluster.repository.url
    return (url.removeprefix("file://"),) if url.startswith("file://") else ()


def is_below(path: str, parent: Path) -> bool:
    """Return whether *path* is *parent*, or in it."""
    return Path(path) == parent or parent in Path(path).parents


def quoted(text: str) -> str:
    """Return *text* as one word of a unit file."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if any(c.isspace() or c in "\"'\\;" for c in text) else escaped
