"""A fault to apply to a scratch copy, and the steps that must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.recovery.selftest.scratch import Scratch
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.verification.verify import verify

#: a file path outside the directory into which a backup is restored
EVIL = "../outside.ibd"

#: step that found a fault → error code
Found = dict[str, str]


@dataclass(frozen=True)
class Injection:
    """A fault of a scratch copy.

    :param row: id of the fault in docs/faults.md.
    :param harm: causes the damage.
    :param kind: kind of stored content that the fault needs, if any.
    :param find: looks for the fault; by default, the backup is read.
    :param encrypted: the fault needs an encrypted repository.
    :param pieces: number of pieces of the archive that the fault needs.
    """

    row: str
    fault: str
    harm: Callable[[Scratch], None]
    kind: str = ""
    find: Callable[[Scratch], Found] | None = None
    encrypted: bool = False
    pieces: int = 0


def nothing(scratch: Scratch) -> None:
    """Cause no damage, for faults of the store or the machine."""


def read(scratch: Scratch, repository: Repository | None = None, *, backup_id: str = "") -> Found:
    """Read a backup as a cycle, a person and ``verify`` do.

    :param repository: the copy, if it was opened in a special way.
    :param backup_id: a backup other than the copied one.
    :returns: the steps that found damage; empty if one wrote a file outside the target.
    """
    found: Found = {}
    target = scratch.root.parent / f"{scratch.root.name}-restored{backup_id}" / "data"
    repository = repository or scratch.open()
    try:
        if repository.catalog().unreadable:
            found["catalog"] = "ManifestCorrupt"
        manifest = repository.load_manifest(backup_id or scratch.backup_id)
        restore_tree(
            repository.chunks_for(manifest),
            repository.load_files(manifest),
            target,
            chunk_size_bytes=manifest.chunk_size_bytes,
            label=manifest.backup_id,
        )
    except RestoreReplayError as exc:
        found["restore"] = exc.code
    found |= _verified(repository)
    # If a file was written outside the target, the fault counts as not found, whatever else was reported.
    return {} if (target.parent / EVIL.removeprefix("../")).exists() else found


def _verified(repository: Repository) -> Found:
    try:
        report = verify(repository)
    except RestoreReplayError as exc:
        return {"verify": exc.code}
    if report.ok:
        return {}
    codes = {bad.failure.code for bad in report.bad} | {f.code for f in report.bad_lists.values()}
    return {"verify": ", ".join(sorted(codes)) or "ManifestCorrupt"}
