"""Preconditions of a cycle on primary, node and store: ``doctor`` shows them, and a cycle requires them."""

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

#: a node needs space for a full copy, and some for the writes of the cycle
_ROOM = 1.2
_EXPECTED_STORE = "belongs to this cluster, is writable, supports conditional creates, and the key is valid"


@dataclass(frozen=True)
class Site:
    """The parts of a cycle that its preconditions are about.

    :param server: the node's server, used only to find its programs and release.
    :param repository: opens the repository for writing.
    :param seed: seed method; empty for the cluster's.
    :param held_bytes: disk space that the node's own data already occupies.
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
        """Return what the configuration requires of the primary."""
        policy = self.cluster.seed
        # With a prefix (another host) or an option file, the backup program has an account of its own.
        by_others = self.method == "physical" and bool(policy.prefix or policy.defaults_file)
        # Only Airflow's schedule has the period of the cycles; max_age, which freshness allows, is at least one period.
        return Wanted(seed="" if by_others else self.method, keep_s=2 * self.cluster.max_age)


def examine(site: Site, primary: Conn | None) -> list[Finding]:
    """Examine the primary, this host as a node, and the store.

    This changes nothing, except that it writes the marker of a new repository and the objects that prove that the
    store supports conditional creates.

    :param primary: None if it is unreachable; then findings that depend on it are left out.
    :returns: findings, in that order; a failed question is a finding, too.
    """
    found = [] if primary is None else site.flavor.examine(primary, site.wanted)
    if any(finding.name == "flavor" and not finding.passed for finding in found):
        # A server of another flavor does not understand the remaining queries.
        primary = None
    return [*found, *_of_node(site, primary), _of_store(site)]


def refuse(found: list[Finding], *, seeding: bool) -> dict[str, str]:
    """Raise if a precondition that a cycle requires does not hold, and return the others as warnings.

    :param seeding: whether the primary is about to be copied; otherwise preconditions that only a seed needs give
        warnings.
    :returns: failed preconditions that do not stop a cycle, by name.
    :raises PreflightFailed: a required precondition does not hold; if the first of them names a more specific error,
        that one.
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


def finding_of(
    subject: str, name: str, ask: Callable[[], str], *, expected: str = "installed", for_seed: bool = False
) -> Finding:
    """Call *ask*, and return its outcome as a finding; an error becomes a finding with which a cycle would fail.

    :param ask: returns what was observed.
    """
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
        finding_of("node", f"program {name}", partial(site.server.program, name), for_seed=number > 0)
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

    return finding_of("node", "release", fits, expected=f"not newer than {theirs}")


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

    # Opening the repository decrypts its key check, which reveals a wrong key.
    return finding_of("store", "repository", open_it, expected=_EXPECTED_STORE)
