"""Every precondition of a cycle, of primary, node and store: ``doctor`` shows them, a cycle insists on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.errors import PreflightFailed, RestoreReplayError, error_class
from airflow_restore_replay.core.flavor.base import Flavor, NodeServer
from airflow_restore_replay.core.flavor.findings import Finding, Wanted
from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.system.files import temporary_directory

#: a node needs room for a whole copy, and some for what it writes meanwhile
_ROOM = 1.2
_EXPECTED_STORE = "ours, writable, honours conditional creates, and the key fits"


@dataclass(frozen=True)
class Site:
    """What a cycle has at its disposal.

    :param server: on the node; only asked for its programs.
    :param repository: opens it for writing.
    :param seed: the method, if a seed is needed; the cluster's by default.
    :param held_bytes: what the node's own data already takes of the disk.
    """

    cluster: Cluster
    flavor: Flavor
    server: NodeServer
    repository: Callable[[], Repository]
    seed: str = ""
    held_bytes: int = 0

    @property
    def method(self) -> str:
        return self.seed or self.cluster.seed.method

    @property
    def wanted(self) -> Wanted:
        """:returns: what is asked of the primary."""
        policy = self.cluster.seed
        # On another host, or with an option file, the backup program has an account of its own.
        by_others = self.method == "physical" and bool(policy.prefix or policy.defaults_file)
        # The cycle's period is in Airflow's schedule; the age that freshness allows is at least one.
        return Wanted(seed="" if by_others else self.method, keep_s=2 * self.cluster.max_age)


def examine(site: Site, primary: Conn | None) -> list[Finding]:
    """Look at the primary, at this host as a node, and at the store. Nothing is changed but for the marker of a new
    repository and what proves that the store honours conditional creates.

    :param primary: None when it cannot be reached: then what depends on it is left out.
    :returns: findings, in that order; whatever cannot even be asked is a finding, too.
    """
    found = [] if primary is None else site.flavor.examine(primary, site.wanted)
    if any(finding.name == "flavor" and not finding.passed for finding in found):
        # Another flavor's server does not understand any further question.
        primary = None
    return [*found, *_of_node(site, primary), _of_store(site)]


def refuse(found: list[Finding], *, seeding: bool) -> dict[str, str]:
    """:param seeding: whether the primary is about to be copied; with a base, what only that needs is a warning.
    :returns: what does not stand against a cycle, but is worth knowing, by name.
    :raises PreflightFailed: something stands against it; or the error that is more specific of what comes first.
    """
    failing = [f for f in found if f.must and not f.passed and (seeding or not f.for_seed)]
    if failing:
        kind = error_class(failing[0].error) or PreflightFailed
        listed = "; ".join(f"{f.subject} {f.name}: {f.observed} (expected: {f.expected})" for f in failing)
        raise kind(
            f"{len(failing)} preconditions of a cycle do not hold: {listed}.",
            hint=" ".join(dict.fromkeys(finding.fix for finding in failing)),
            evidence={"findings": msgspec.to_builtins(failing)},
        )
    return {f.name: f"{f.observed} (expected: {f.expected}). {f.fix}" for f in found if not f.passed}


def tried(
    subject: str, name: str, ask: Callable[[], str], *, expected: str = "installed", for_seed: bool = False
) -> Finding:
    """:returns: what came of asking; an error is a finding that a cycle would end with."""
    try:
        observed = ask()
    except RestoreReplayError as exc:
        return Finding(
            subject=subject,
            name=name,
            passed=False,
            observed=exc.message,
            expected=expected,
            fix=exc.hint or "See what was observed.",
            error=exc.code,
            for_seed=for_seed,
        )
    return Finding(
        subject=subject, name=name, passed=True, observed=observed, expected=expected, for_seed=for_seed
    )


def _of_node(site: Site, primary: Conn | None) -> list[Finding]:
    programs = [
        tried("node", f"program {name}", partial(site.server.program, name), for_seed=number > 0)
        for number, name in enumerate(site.flavor.programs.get(site.method, ()))
    ]
    found = [_workdir(site.cluster), *programs]
    if primary is None:
        return [*found, _room(site, 0)]
    if all(finding.passed for finding in programs[:1]):
        found.append(_release(site, site.flavor.identity(primary).release))
    return [*found, _room(site, sum(table.data_bytes for table in site.flavor.tables(primary)))]


def _release(site: Site, theirs: str) -> Finding:
    def fits() -> str:
        ours = site.server.release()
        site.flavor.refuse_release(backup=None, node=ours, primary=theirs)
        return f"{ours} for a primary of {theirs}"

    return tried("node", "release", fits, expected=f"not newer than {theirs}")


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

    return tried("node", "workdir", write, expected="a directory that we may write to")


def _room(site: Site, needed: int) -> Finding:
    path = Path(site.cluster.node.workdir)
    while not path.exists():
        path = path.parent
    free, wanted = shutil.disk_usage(path).free + site.held_bytes, int(needed * _ROOM)
    passed = free >= wanted
    return Finding(
        subject="node",
        name="disk space",
        passed=passed,
        observed=f"{human_bytes(free)} free in {path}",
        expected=f"at least {human_bytes(wanted)}",
        fix="" if passed else "Free space there, or give node.workdir another disk.",
        error="NodeFull",
    )


def _of_store(site: Site) -> Finding:
    def open_it() -> str:
        repository = site.repository()
        return f"{repository.store.url} of cluster {repository.cluster}"

    # A wrong key shows when the repository's key check is decrypted.
    return tried("store", "repository", open_it, expected=_EXPECTED_STORE)
