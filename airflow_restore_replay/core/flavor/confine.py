"""Decide what a node's server may use of its host, and whether the host can hold it to that.

A node's server runs statements and routines that users of the primary wrote. Variables such as general_log_file let a
superuser write to any path, and no option of the server forbids that. So the process is confined.
"""

from __future__ import annotations

from pathlib import Path

from airflow_restore_replay.core.errors import ConfinementUnavailable
from airflow_restore_replay.core.flavor.values import ServerLayout
from airflow_restore_replay.core.system.confinement import LEAST_VERSION, Confinement, landlock_version

_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
# Beside the directory of a program that was installed elsewhere. Its whole parent may be a home directory, or "/".
_BESIDE = ("bin", "sbin", "lib", "lib32", "lib64", "libexec", "share")
# What programs, the C library and TLS read at start. Of /proc nothing that belongs to a process: root may read the
# environment of processes that it could not trace.
_READABLE = (
    *(f"/proc/{name}" for name in ("cpuinfo", "filesystems", "meminfo", "stat", "sys", "version")),
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    *(
        f"/etc/{name}"
        for name in (
            "alternatives",
            "ca-certificates",
            "crypto-policies",
            "gai.conf",
            "group",
            "host.conf",
            "hosts",
            "ld.so.cache",
            "ld.so.conf",
            "ld.so.conf.d",
            "ld.so.preload",
            "locale.alias",
            "localtime",
            "nsswitch.conf",
            "passwd",
            "pki",
            "protocols",
            "resolv.conf",
            "services",
            "ssl/certs",
            "ssl/openssl.cnf",
            "timezone",
        )
    ),
)
_DNS_PORT = 53


def server_confinement(
    layout: ServerLayout, *, socket_directory: Path, program: Path | None = None
) -> Confinement | None:
    """Return what the server of *layout* may use; None if it runs without confinement.

    The node's state, its jobs, and the plugins that the server may load are outside what it can write.

    :param program: the server's program; a link leads to where it is installed.
    :raises ConfinementUnavailable: ``node.confine`` is ``require``, and this kernel offers no Landlock.
    """
    if layout.confine == "off":
        return None
    if landlock_version() < LEAST_VERSION:
        if layout.confine == "require":
            raise ConfinementUnavailable(
                f"node.confine is require, and this host cannot confine the server: {_lack()}."
            )
        return None
    programs = [*map(Path, _PROGRAMS), layout.plugin_dir, *layout.readable]
    for directory in filter(None, (layout.bindir, program and program.resolve().parent)):
        programs += [directory, *(directory.parent / name for name in _BESIDE)]
    return Confinement(
        programs=programs,
        readable=[*map(Path, _READABLE)],
        writable=[
            layout.datadir,
            layout.run_dir,
            layout.tmp_dir,
            layout.log_path.parent,
            socket_directory,
            Path("/dev/null"),
        ],
        tcp_ports=_tcp_ports(layout),
        listening=_listening(layout),
    )


def _tcp_ports(layout: ServerLayout) -> list[int] | None:
    if layout.primary_port is None:
        return None
    return [layout.primary_port, _DNS_PORT] if layout.primary_port else []


def _listening(layout: ServerLayout) -> list[int]:
    ports = (layout.served_port, layout.serving.port if layout.serving else None)
    return [port for port in ports if port is not None]


def confines(policy: str) -> bool:
    """Return whether servers on this host run confined.

    :param policy: ``node.confine``.
    """
    return policy != "off" and landlock_version() >= LEAST_VERSION


def describe(policy: str) -> str:
    """Return whether servers on this host run confined, for the manifest and for people.

    :param policy: ``node.confine``.
    """
    if policy == "off":
        return "off: node.confine"
    return f"by Landlock version {landlock_version()}" if confines(policy) else f"off: {_lack()}"


def _lack() -> str:
    version = landlock_version()
    offered = f"Landlock version {version}" if version else "no Landlock"
    return f"the kernel offers {offered}, and version {LEAST_VERSION} (Linux 5.19) is needed"
