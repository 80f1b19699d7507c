"""The selftest: damage copies of the newest backup by each fault of docs/faults.md, and report what finds the damage.

It writes nothing to the repository itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import BackupFault
from airflow_restore_replay.core.recovery.selftest.archive_faults import ARCHIVES, read_archive, some_pieces
from airflow_restore_replay.core.recovery.selftest.content_faults import STORED
from airflow_restore_replay.core.recovery.selftest.data_faults import DATA
from airflow_restore_replay.core.recovery.selftest.fault import Found, Injection, read
from airflow_restore_replay.core.recovery.selftest.scratch import Scratch, make_scratch
from airflow_restore_replay.core.recovery.selftest.server_pair import ServerPair
from airflow_restore_replay.core.recovery.selftest.store_faults import STORES
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.repository.repository import Repository

INJECTIONS: tuple[Injection, ...] = (*STORED, *STORES, *ARCHIVES)
#: id, fault, and why it cannot be tried on a scratch copy
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
    """Result for one fault.

    :param row: id of the fault in docs/faults.md.
    :param found_by: step that found the fault → error code; empty if none did.
    :param left_out: why the fault was not tried; empty if it was.
    """

    row: str
    fault: str
    found_by: dict[str, str] = field(default_factory=dict)
    left_out: str = ""


@dataclass
class SelftestReport:
    """Result of a selftest.

    :param control: step → error code, found in a copy without damage; empty unless the backup itself is damaged.
    """

    cluster: str
    backup_id: str
    control: dict[str, str]
    tried: list[Tried]

    @property
    def ok(self) -> bool:
        """Return whether every fault that was tried was found, and nothing was found in the undamaged copy."""
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
    """Try all faults on copies of a backup.

    :param repository: opened for reading.
    :param manifest: manifest of the backup that is copied and damaged.
    :param keys: keys of the repository, 64 hex digits each, the active one first.
    :param cluster: configures the servers on two copies of the data; None leaves out the faults in the data.
    :param workdir: parent directory of the copies; by default the system's directory for temporary files.
    :param tell: called before each fault.
    :raises RestoreReplayError: the server is not installed here, or there is no space for the copies.
    """
    with tempfile.TemporaryDirectory(prefix="restore-replay-selftest-", dir=workdir) as name:
        root = Path(name)
        whole = make_scratch(repository, manifest, root / "whole", keys, some_pieces(repository))
        tell("control")
        control = read(whole.copy(root / "control"))
        if whole.pieces:
            control |= {f"{step} of the archive": code for step, code in read_archive(whole).items()}
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
    """Try the faults in the data.

    :param tried: the results are appended to it.
    :returns: step → error code, found on a server with undamaged data before the first fault and after the last.
    """
    tell("restoring the data")
    try:
        pair = ServerPair.make(repository, manifest, scratch, cluster, root)
    except BackupFault as exc:
        tried += [Tried(f.row, f.fault, left_out="the backup does not restore") for f in DATA]
        return {"restore of all of it": exc.code}
    try:
        pair.start()
        before = pair.check()
        for fault in DATA:
            tell(f"{fault.row} {fault.fault}")
            tried.append(Tried(fault.row, fault.fault, fault.find(pair)))
        return before | pair.check()
    finally:
        pair.end()


def _try(injection: Injection, whole: Scratch, root: Path) -> Tried:
    tried = Tried(injection.row, injection.fault)
    if injection.kind and injection.kind not in whole.files:
        tried.left_out = f"the backup has no {injection.kind}"
    elif injection.encrypted and not whole.keys:
        tried.left_out = "the repository is not encrypted"
    elif injection.pieces > len(whole.pieces):
        tried.left_out = f"the archive has not {injection.pieces} pieces that follow each other"
    else:
        damaged = whole.copy(root)
        injection.harm(damaged)
        tried.found_by = (injection.find or read)(damaged)
    return tried
