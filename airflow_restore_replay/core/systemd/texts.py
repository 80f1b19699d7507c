"""The text of a cluster's systemd units. Each holds names of secrets at most, never a secret."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_restore_replay.core.config.cluster import CONFIG_VARIABLE, Cluster
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.systemd.calendar import calendar_events
from airflow_restore_replay.core.systemd.hardening import access_of, quoted

FRESHNESS, ARCHIVE, CYCLE = KINDS = ("freshness", "archive", "cycle")
#: runs the host's hook for the unit that failed, which is the part after the ``@``
FAILED = "restore-replay-failed@.service"


@dataclass(frozen=True)
class Place:
    """What the units of a host have in common.

    :param program: path of ``restore-replay``.
    :param config: path of the cluster file.
    :param user: account of the services.
    :param environment: file with variables that hold secrets, which only systemd reads; it may be missing.
    :param hook: program that is called with the name of a unit that failed; it may be missing.
    :param every_s: pause between two checks of freshness.
    """

    program: str
    config: str
    user: str = "restore-replay"
    environment: str = "/etc/restore-replay/{cluster}.env"
    hook: str = "/etc/restore-replay/on-failure"
    every_s: float = 900.0


def unit_texts(cluster: Cluster, place: Place, kinds: tuple[str, ...] = KINDS) -> dict[str, str]:
    """Return name → text of the units of *cluster*.

    :param kinds: which of :data:`KINDS`; without a schedule, a cycle has no timer.
    :raises ConfigInvalid: the cluster needs Airflow, or systemd has nothing that corresponds to its schedule.
    """
    _refuse_connections(cluster, kinds)
    texts = {FAILED: _failed(place)}
    for kind in kinds:
        texts[f"{unit_name(cluster, kind)}.service"] = _SERVICES[kind](cluster, place)
        timer = _timer(cluster, place, kind)
        if timer:
            texts[f"{unit_name(cluster, kind)}.timer"] = timer
    return texts


def unit_name(cluster: Cluster, kind: str) -> str:
    """Return the name of a unit of *cluster*, without its suffix."""
    return f"restore-replay-{kind}-{cluster.name}"


def _refuse_connections(cluster: Cluster, kinds: tuple[str, ...]) -> None:
    primary = cluster.primary.connection if {ARCHIVE, CYCLE} & set(kinds) else None
    node = cluster.node.connection if CYCLE in kinds else None
    named = {"primary": primary, "repository": cluster.repository.connection, "node": node}
    if needing := [f"{section}.connection" for section, connection in named.items() if connection]:
        raise ConfigInvalid(
            f"{', '.join(needing)} of {cluster.name} can only be resolved by Airflow, which a unit runs without.",
            hint="Give a host the addresses, password_file and so on, in a cluster file of its own.",
        )


def _service(cluster: Cluster, place: Place, kind: str, what: str, own: str, arguments: str) -> str:
    access = access_of(cluster, kind, place.config, place.program)
    return f"""\
[Unit]
Description={what}
Documentation=https://github.com/airflow-restore-replay/airflow-restore-replay/blob/main/docs/units.md
Wants=network-online.target
After=network-online.target
OnFailure=restore-replay-failed@%n.service

[Service]
User={place.user}
Environment={quoted(f"{CONFIG_VARIABLE}={place.config}")}
EnvironmentFile=-{place.environment.format(cluster=cluster.name).replace("%", "%%")}
ExecStart={_command(place.program)} {arguments}
{own}
{chr(10).join(access.lines())}
"""


def _command(program: str) -> str:
    return quoted(program).replace("$", "$$")


def _freshness(cluster: Cluster, place: Place) -> str:
    ping = " --ping" if cluster.ping.url_source else ""
    rpo = f" --rpo {cluster.freshness.rpo:g}s" if cluster.freshness.rpo else ""
    own = "Type=oneshot\nTimeoutStartSec=5min\nMemoryMax=1G\nMemoryDenyWriteExecute=true"
    what = f"Freshness of the backups of {cluster.name}"
    return _service(cluster, place, FRESHNESS, what, own, f"freshness --cluster {cluster.name}{rpo}{ping}")


def _archive(cluster: Cluster, place: Place) -> str:
    own = """\
Type=exec
Restart=always
RestartSec=5
# Wrong usage and configuration do not mend themselves.
RestartPreventExitStatus=2
# It ends its programs, and stores what has arrived.
KillMode=mixed
TimeoutStopSec=120
MemoryMax=256M"""
    arguments = f"archive --cluster {cluster.name} --follow"
    text = _service(cluster, place, ARCHIVE, f"Archive of the binary logs of {cluster.name}", own, arguments)
    return f"{text}\n[Install]\nWantedBy=multi-user.target\n"


def _cycle(cluster: Cluster, place: Place) -> str:
    own = """\
Type=oneshot
# The cluster file has the time limits.
TimeoutStartSec=infinity
# It ends its server and removes its node.
KillMode=mixed
TimeoutStopSec=10min
LimitNOFILE=65536
Nice=5"""
    what = f"Backup of {cluster.name} that is produced by being restored"
    return _service(cluster, place, CYCLE, what, own, f"cycle --cluster {cluster.name}")


_SERVICES = {FRESHNESS: _freshness, ARCHIVE: _archive, CYCLE: _cycle}


def _timer(cluster: Cluster, place: Place, kind: str) -> str:
    if kind == FRESHNESS:
        when = [f"OnBootSec=2min\nOnUnitActiveSec={place.every_s:.0f}s\nRandomizedDelaySec=30s"]
        what = f"When the freshness of {cluster.name} is checked"
    elif kind == CYCLE and cluster.schedule:
        events = calendar_events(cluster.starts(cluster.schedule), cluster.timezone)
        # A cycle that was missed while the host was down runs when it is up again.
        when = [*(f"OnCalendar={event}" for event in events), "Persistent=true", "AccuracySec=1s"]
        what = f"When a backup of {cluster.name} is made"
    else:
        return ""
    lines = "\n".join(when)
    return f"[Unit]\nDescription={what}\n\n[Timer]\n{lines}\n\n[Install]\nWantedBy=timers.target\n"


def _failed(place: Place) -> str:
    hook = place.hook.replace("%", "%%")
    return f"""\
[Unit]
Description=Call of the hook for %i, which failed
ConditionFileIsExecutable={hook}

[Service]
Type=oneshot
User={place.user}
ExecStart={_command(place.hook)} %i
TimeoutStartSec=1min
NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true
PrivateDevices=true
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=true
RestrictSUIDSGID=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectControlGroups=true
LockPersonality=true
CapabilityBoundingSet=
SystemCallArchitectures=native
"""
