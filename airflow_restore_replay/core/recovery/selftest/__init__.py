"""Test the tester: damage copies of the newest backup in every way of the catalogue of faults, and see what finds it.

Nothing is written to the repository itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import BackupFault
from airflow_restore_replay.core.recovery.selftest.content_faults import STORED
from airflow_restore_replay.core.recovery.selftest.data_faults import DATA
from airflow_restore_replay.core.recovery.selftest.injections import Found, Injection, read
from airflow_restore_replay.core.recovery.selftest.scratch import Scratch, make_scratch
from airflow_restore_replay.core.recovery.selftest.server_pair import ServerPair
from airflow_restore_replay.core.recovery.selftest.store_faults import STORES
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.repository.repository import Repository

INJECTIONS: tuple[Injection, ...] = (*STORED, *STORES)
#: row, fault, and why a scratch copy is not the place for it
NOT_HERE: tuple[tuple[str, str, str], ...] = (
    ("S8", "store hangs mid-transfer", "a directory does not hang; tests/contract/test_network_faults.py"),
    ("D6", "tables that cannot be carried", "no backup has them; tests/e2e/test_database_faults.py"),
    (
        "D7",
        "DDL, large transactions and rows",
        "to be survived, not found; tests/e2e/test_database_faults.py",
    ),
    ("D8", "one of every object", "to be survived, not found; tests/e2e/test_database_faults.py"),
)


@dataclass
class Tried:
    """:param found_by: what found it → how it called it; empty when nothing did.
    :param left_out: why it could not be tried; empty when it was.
    """

    row: str
    fault: str
    found_by: dict[str, str] = field(default_factory=dict)
    left_out: str = ""


@dataclass
class SelftestReport:
    """:param control: what was found in a copy that nobody damaged."""

    cluster: str
    backup_id: str
    control: dict[str, str]
    tried: list[Tried]

    @property
    def ok(self) -> bool:
        return not self.control and all(t.found_by for t in self.tried if not t.left_out)


def selftest(
    repository: Repository,
    manifest: Manifest,
    keys: Sequence[str],
    *,
    cluster: Cluster | None,
    workdir: Path | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> SelftestReport:
    """:param repository: opened for reading. :param manifest: of the backup that is copied and damaged.
    :param cluster: whose servers run on two copies of the data; None leaves the faults in the data out.
    :param workdir: for the copies; the system's place for temporary files unless given.
    :param tell: called before each fault.
    :raises RestoreReplayError: there is no such server here, or no room for the copies.
    """
    with tempfile.TemporaryDirectory(prefix="restore-replay-selftest-", dir=workdir) as name:
        root = Path(name)
        whole = make_scratch(repository, manifest, root / "whole", keys)
        tell("control")
        control = read(whole.copy(root / "control"))
        tried = [Tried(row, fault, left_out=why) for row, fault, why in NOT_HERE]
        for number, injection in enumerate(INJECTIONS):
            tell(f"{injection.row} {injection.fault}")
            tried.append(_try(injection, whole, root / f"{number:02}"))
        if cluster is None:
            tried += [
                Tried(f.row, f.fault, left_out="the faults in the data were not asked for") for f in DATA
            ]
        else:
            scratch = whole.copy(root / "records")
            control |= _try_data(repository, manifest, scratch, cluster, root, tried, tell)
    tried.sort(key=lambda t: (t.row[0], int(t.row[1:])))
    return SelftestReport(repository.cluster, manifest.backup_id, control, tried)


def _try_data(
    repository: Repository,
    manifest: Manifest,
    scratch: Scratch,
    cluster: Cluster,
    root: Path,
    tried: list[Tried],
    tell: Callable[[str], None],
) -> Found:
    """:returns: what was found on a server whose data nobody harmed, before the first fault and after the last."""
    tell("restoring the data")
    try:
        twins = ServerPair.make(repository, manifest, scratch, cluster, root)
    except BackupFault as exc:
        tried += [Tried(f.row, f.fault, left_out="the backup does not restore") for f in DATA]
        return {"restore of all of it": exc.code}
    try:
        twins.start()
        before = twins.check()
        for fault in DATA:
            tell(f"{fault.row} {fault.fault}")
            tried.append(Tried(fault.row, fault.fault, fault.find(twins)))
        return before | twins.check()
    finally:
        twins.end()


def _try(injection: Injection, whole: Scratch, root: Path) -> Tried:
    tried = Tried(injection.row, injection.fault)
    if injection.kind and injection.kind not in whole.files:
        tried.left_out = f"the backup has no {injection.kind}"
    elif injection.encrypted and not whole.keys:
        tried.left_out = "the repository is not encrypted"
    else:
        damaged = whole.copy(root)
        injection.harm(damaged)
        tried.found_by = (injection.find or read)(damaged)
    return tried
