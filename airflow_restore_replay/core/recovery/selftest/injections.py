"""A fault that is done to a scratch copy, and what looks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.recovery.selftest.scratch import Scratch
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.verification.verify import verify

#: a file path that leads out of the directory into which a backup is restored
EVIL = "../outside.ibd"

#: what found something → how it called it
Found = dict[str, str]


@dataclass(frozen=True)
class Injection:
    """:param row: of the catalogue of faults. :param kind: of stored content that it needs, if any.
    :param harm: does it. :param find: looks for it, instead of reading the backup.
    """

    row: str
    fault: str
    harm: Callable[[Scratch], None]
    kind: str = ""
    find: Callable[[Scratch], Found] | None = None
    encrypted: bool = False


def nothing(scratch: Scratch) -> None:
    """No harm: the fault is one of the store, or of the machine."""


def read(scratch: Scratch, repository: Repository | None = None, *, backup_id: str = "") -> Found:
    """Read a backup as a cycle, a person and ``verify`` do.

    :param repository: the copy's, opened in another way. :param backup_id: another than the one that was copied.
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
    # A file outside the target is worse than one that nobody found.
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
