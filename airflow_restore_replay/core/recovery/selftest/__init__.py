"""Test the tester: damage copies of the newest backup in every way of the catalogue of faults, and see what finds it.

Nothing is written to the repository itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_restore_replay.core.recovery.selftest.injections import Injection, read
from airflow_restore_replay.core.recovery.selftest.scratch import Scratch, make_scratch
from airflow_restore_replay.core.recovery.selftest.stored import STORED
from airflow_restore_replay.core.recovery.selftest.stores import STORES
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.repository.repository import Repository

INJECTIONS: tuple[Injection, ...] = tuple(
    sorted((*STORED, *STORES), key=lambda i: (i.row[0], int(i.row[1:])))
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
    tell: Callable[[str], None] = lambda what: None,
) -> SelftestReport:
    """:param repository: opened for reading. :param manifest: of the backup that is copied and damaged."""
    with tempfile.TemporaryDirectory(prefix="restore-replay-selftest-") as name:
        root = Path(name)
        whole = make_scratch(repository, manifest, root / "whole", keys)
        tell("control")
        control = read(whole.copy(root / "control"))
        tried = []
        for number, injection in enumerate(INJECTIONS):
            tell(f"{injection.row} {injection.fault}")
            tried.append(_try(injection, whole, root / f"{number:02}"))
    return SelftestReport(repository.cluster, manifest.backup_id, control, tried)


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
