"""Every precondition of a cycle, asked before one starts: primary, node, store."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from airflow_restore_replay.core.cluster import Cluster
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.base import Conn, Flavor, ServerLayout
from airflow_restore_replay.core.flavor.endpoints import primary_endpoint
from airflow_restore_replay.core.flavor.examination import Finding, Wanted
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.units import human_bytes

#: server, logical seed, physical seed: what each method runs on the node
_PROGRAMS = {
    ("mariadb", "logical"): ("mariadbd", "mariadb-install-db", "mariadb-dump", "mariadb"),
    ("mariadb", "physical"): ("mariadbd", "mariadb-install-db", "mariadb-backup", "mbstream"),
    ("mysql", "logical"): ("mysqld", "mysqldump", "mysql"),
    ("mysql", "clone"): ("mysqld", "mysqldump", "mysql"),
}
#: a node needs room for a whole copy, and some for what it writes meanwhile
_ROOM = 1.2


def examine(cluster: Cluster, secrets: Secrets) -> list[Finding]:
    """Look at the primary, at this host as a node, and at the store. Nothing is changed but for the marker of a new
    repository and what proves that the store honours conditional creates.

    :returns: findings, in that order; whatever cannot even be asked is a finding, too.
    """
    flavor = get_flavor(cluster.flavor)
    primary = primary_endpoint(cluster.primary, secrets.primary_password)
    found: list[Finding] = []
    needed = 0
    conn = _asked(found, "primary", "connection", lambda: flavor.connect(primary))
    if conn is not None:
        with contextlib.closing(conn):
            found += _of_primary(flavor, conn, cluster)
            needed = _bytes(flavor, conn)
            found += _of_node(flavor, cluster, conn, needed)
    else:
        found += _of_node(flavor, cluster, None, needed)
    found += _of_store(cluster, secrets)
    return found


def _asked(found: list[Finding], subject: str, name: str, ask: Callable[[], Conn]) -> Conn | None:
    try:
        conn = ask()
    except RestoreReplayError as exc:
        found.append(_failed(subject, name, exc, "it answers, and lets the account in"))
        return None
    found.append(_good(subject, name, "it answers", "it answers, and lets the account in"))
    return conn


def _of_primary(flavor: Flavor, conn: Conn, cluster: Cluster) -> list[Finding]:
    # The cycle's period is in Airflow's schedule; the age that freshness allows is at least one.
    wanted = Wanted(seed=cluster.seed.method, keep_s=2 * cluster.max_age)
    return flavor.examine(conn, wanted)


def _bytes(flavor: Flavor, conn: Conn) -> int:
    return sum(table.data_bytes for table in flavor.tables(conn))


def _of_node(flavor: Flavor, cluster: Cluster, primary: Conn | None, needed: int) -> list[Finding]:
    found = [_workdir(cluster)]
    with tempfile.TemporaryDirectory(prefix="doctor-") as scratch:
        root = Path(scratch)
        server = flavor.server(
            ServerLayout(
                datadir=root / "data",
                run_dir=root / "run",
                tmp_dir=root / "tmp",
                log_path=root / "log",
                plugin_dir=root / "plugin",
                bindir=Path(cluster.node.bindir) if cluster.node.bindir else None,
            )
        )
        for program in _PROGRAMS[cluster.flavor, cluster.seed.method]:
            found.append(_tried("node", f"program {program}", lambda p=program: server.program(p)))  # type: ignore[misc]
        if primary is not None and all(finding.passed for finding in found[1:]):
            theirs = flavor.identity(primary).release

            def fits() -> str:
                ours = server.release()
                flavor.refuse_release(backup=None, node=ours, primary=theirs)
                return f"{ours} for a primary of {theirs}"

            found.append(_tried("node", "release", fits, expected=f"not newer than {theirs}"))
    return [*found, _room(cluster, needed)]


def _workdir(cluster: Cluster) -> Finding:
    path = Path(cluster.node.workdir)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path):
            pass
    except OSError as exc:
        return Finding(
            subject="node",
            name="workdir",
            passed=False,
            observed=f"{path}: {exc.strerror}",
            expected="a directory that we may write to",
            fix=f"install -d -m 0700 -o $(id -un) {path}",
        )
    return _good("node", "workdir", str(path), "a directory that we may write to")


def _room(cluster: Cluster, needed: int) -> Finding:
    path = Path(cluster.node.workdir)
    while not path.exists():
        path = path.parent
    free, wanted = shutil.disk_usage(path).free, int(needed * _ROOM)
    passed = free >= wanted
    return Finding(
        subject="node",
        name="disk space",
        passed=passed,
        observed=f"{human_bytes(free)} free in {path}",
        expected=f"at least {human_bytes(wanted)}",
        fix="" if passed else "Free space there, or give node.workdir another disk.",
    )


def _of_store(cluster: Cluster, secrets: Secrets) -> list[Finding]:
    def open_it() -> str:
        repository = Repository.open(
            cluster.repository,
            cluster=cluster.name,
            credentials=secrets.store,
            keys=secrets.keys,
            write=True,
        )
        return f"{repository.store.url} of cluster {repository.cluster}"

    # A wrong key shows when the repository's key check is decrypted.
    expected = "ours, writable, honours conditional creates, and the key fits"
    return [_tried("store", "repository", open_it, expected=expected)]


def _tried(subject: str, name: str, ask: Callable[[], str], *, expected: str = "installed") -> Finding:
    try:
        return _good(subject, name, ask(), expected)
    except RestoreReplayError as exc:
        return _failed(subject, name, exc, expected)


def _good(subject: str, name: str, observed: str, expected: str) -> Finding:
    return Finding(subject=subject, name=name, passed=True, observed=observed, expected=expected)


def _failed(subject: str, name: str, exc: RestoreReplayError, expected: str) -> Finding:
    return Finding(
        subject=subject,
        name=name,
        passed=False,
        observed=exc.message,
        expected=expected,
        fix=exc.hint or "See what was observed.",
    )
