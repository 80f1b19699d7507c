"""Preconditions of a cycle on primary, node and store: ``doctor`` shows them, and a cycle requires them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.errors import (
    ConfinementUnavailable,
    NodeFull,
    PreflightFailed,
    RestoreReplayError,
)
from airflow_restore_replay.core.flavor import confine
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.examination import Wanted
from airflow_restore_replay.core.flavor.findings import Finding, Severity
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.values import Conn, Table
from airflow_restore_replay.core.jobs.room import bytes_of_full
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.system.files import temporary_directory

_EXPECTED_STORE = "belongs to this cluster, is writable, supports conditional creates, and the key is valid"


@dataclass(frozen=True)
class Site:
    """The parts of a cycle that its preconditions are about.

    :param server: the node's server, used only to find its programs and release.
    :param repository: opens the repository for writing.
    :param seed: seed method; empty for the cluster's.
    :param held_bytes: disk space that the node's own data already occupies.
    :param seeding: whether the node is filled from the primary, or may be.
    """

    cluster: Cluster
    flavor: Flavor
    server: NodeServer
    repository: Callable[[], Repository]
    seed: str = ""
    held_bytes: int = 0
    seeding: bool = True

    @property
    def method(self) -> str:
        return self.seed or self.cluster.seed.method

    @cached_property
    def release(self) -> str:
        """Return the release of the node's server; empty if it is not installed, which is a finding of its own."""
        try:
            return self.server.release()
        except PreflightFailed:
            return ""

    @property
    def wanted(self) -> Wanted:
        """Return what the configuration requires of the primary."""
        policy = self.cluster.seed
        # With a prefix (another host) or an option file, the backup program has an account of its own.
        by_others = self.method == "physical" and bool(policy.prefix or policy.defaults_file)
        return Wanted(
            seed="" if by_others else self.method,
            # Only Airflow's schedule has the cycles' period; max_age, which freshness allows, is at least one period.
            keep_s=2 * self.cluster.max_age,
            node_release=self.release,
            confined=confine.confines(self.cluster.node.confine),
            seeding=self.seeding,
        )


def examine_site(site: Site, primary: Conn | None) -> list[Finding]:
    """Examine the primary, this host as a node, and the repository.

    This changes nothing, except that it writes the marker of a new repository and the objects that prove that the
    store supports conditional creates.

    :param primary: None if it is unreachable; then findings that depend on it are left out.
    :returns: findings, in that order; a failed question is a finding, too.
    """
    found = [] if primary is None else site.flavor.examine_primary(primary, site.wanted)
    if any(finding.name == "flavor" and finding.severity is Severity.REFUSED for finding in found):
        # A server of another flavor does not understand the remaining queries.
        primary = None
    return [*found, *_examine_node_host(site, primary), _examine_repository(site)]


def finding_of(
    subject: str, name: str, ask: Callable[[], str], *, expected: str = "installed", for_seed: bool = False
) -> Finding:
    """Call *ask*, and return its outcome as a finding; because of an error a cycle would be refused.

    :param ask: returns what was observed.
    """
    finding = partial(Finding, subject=subject, name=name, expected=expected, for_seed=for_seed)
    try:
        return finding(severity=Severity.OK, observed=ask())
    except RestoreReplayError as exc:
        fix = exc.hint or "See what was observed."
        return finding(severity=Severity.REFUSED, observed=exc.message, fix=fix, error=exc.code)


def _examine_node_host(site: Site, primary: Conn | None) -> list[Finding]:
    programs = [
        finding_of("node", f"program {name}", partial(site.server.program, name), for_seed=number > 0)
        for number, name in enumerate(site.flavor.programs.get(site.method, ()))
    ]
    found = [_workdir(site.cluster), _confinement(site.cluster.node.confine), *programs]
    if primary is None:
        return [*found, _room(site, ())]
    if all(finding.severity is Severity.OK for finding in programs[:1]):
        found.append(_release(site, site.flavor.identity(primary).release))
    tables = site.flavor.tables(primary)
    if programs and programs[0].severity is Severity.OK:
        found += _plugins(site, primary, tables)
    return [*found, _room(site, tables)]


def _release(site: Site, theirs: str) -> Finding:
    def fits() -> str:
        ours = site.release or site.server.release()
        site.flavor.refuse_release(backup=None, node=ours, primary=theirs)
        return f"{ours} for a primary of {theirs}"

    return finding_of("node", "release", fits, expected=f"not newer than {theirs}")


def _plugins(site: Site, primary: Conn, tables: Sequence[Table]) -> list[Finding]:
    """Examine whether the plugins of the primary that a node may load are installed here, and which it may not."""
    lacking = site.server.lacking(site.flavor.variables.loaded(primary))
    engines = {f"ha_{table.engine.lower()}" for table in tables}
    return [
        Finding(
            subject="node",
            name=f"plugin {name}",
            severity=Severity.REFUSED if name in engines else Severity.WARNING,
            observed="not installed",
            expected="installed, as on the primary",
            fix=f"Install the package with {name}.so on the node.",
        )
        for name in lacking
    ] + [
        Finding(
            subject="node",
            name=f"plugin {name}",
            severity=Severity.WARNING,
            observed="no node loads it",
            expected="accounts of plugins that nodes load",
            fix="A CREATE USER or ALTER USER that names it costs a fresh full; use another plugin for new accounts.",
        )
        for name in site.flavor.variables.unknown_authentication(primary)
    ]


def _workdir(cluster: Cluster) -> Finding:
    path = Path(cluster.node.workdir)

    def write() -> str:
        try:
            with temporary_directory(path):
                return str(path)
        except OSError as exc:
            raise PreflightFailed(
                f"{path}: {exc.strerror}", hint=f"install -d -m 0700 -o $(id -un) {path}"
            ) from exc

    return finding_of("node", "workdir", write, expected="a writable directory")


def _confinement(policy: str) -> Finding:
    """Return whether this host confines a node's server.

    :param policy: ``node.confine``.
    """
    if confine.confines(policy):
        severity, fix = Severity.OK, ""
    else:
        severity = {"require": Severity.REFUSED, "prefer": Severity.WARNING}.get(policy, Severity.NOTE)
        fix = "Set node.confine: prefer." if policy == "off" else ConfinementUnavailable.advice
    return Finding(
        subject="node",
        name="confinement",
        severity=severity,
        observed=confine.describe(policy),
        expected="the kernel confines the server, which runs statements of the primary's users",
        fix=fix,
        error=ConfinementUnavailable.__name__,
    )


def _room(site: Site, tables: Sequence[Table]) -> Finding:
    wanted = bytes_of_full(site.flavor, tables)
    fix = "Free space there, or give node.workdir another disk."
    return examine_room("node", Path(site.cluster.node.workdir), wanted, held_bytes=site.held_bytes, fix=fix)


def examine_room(subject: str, path: Path, wanted_bytes: int, *, held_bytes: int, fix: str) -> Finding:
    """Return whether the disk of *path*, which need not exist yet, has enough room.

    :param held_bytes: that the same data occupies there already.
    """
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free + held_bytes
    enough = free >= wanted_bytes
    return Finding(
        subject=subject,
        name="disk space",
        severity=Severity.OK if enough else Severity.REFUSED,
        observed=f"{human_bytes(free)} free in {path}",
        expected=f"at least {human_bytes(wanted_bytes)}",
        fix="" if enough else fix,
        error=NodeFull.__name__,
    )


def _examine_repository(site: Site) -> Finding:
    def open_it() -> str:
        repository = site.repository()
        return f"{repository.store.url} of cluster {repository.cluster}"

    # Opening the repository decrypts its key check, which reveals a wrong key.
    return finding_of("store", "repository", open_it, expected=_EXPECTED_STORE)
