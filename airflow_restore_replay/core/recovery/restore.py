"""Restore a backup into an empty directory for a person; resumable, without Airflow or the primary."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.config.sections import Transfer
from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import NoSuchBackup, TargetNotEmpty
from airflow_restore_replay.core.flavor.quoting import identifier
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import BackupState, FileEntry, Manifest
from airflow_restore_replay.core.repository.rate_limit import ProgressFn, RateLimit
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.system.files import allocated_bytes, require_space

#: file in the target of an unfinished restore; it names the backup, so that a second try resumes
MARKER = ".restore-replay-partial"


@dataclass(frozen=True)
class Restored:
    """Result of a restore.

    :param position: GTID set of the transactions that the data contains.
    :param fetched_bytes: bytes read from the store; less than *bytes* after a resumed try.
    :param event_sql: statements that re-enable the events that are disabled on a replica.
    """

    backup_id: str
    position: str
    target: str
    bytes: int
    fetched_bytes: int
    seconds: float
    resumed: bool
    event_sql: tuple[str, ...]


def choose_backup(catalog: Catalog, backup_id: str | None, *, allow_quarantined: bool = False) -> Backup:
    """Return the backup to restore.

    :param backup_id: the backup; None takes the newest healthy one.
    :param allow_quarantined: accept a quarantined backup if it is named.
    :raises NoSuchBackup: there is no such backup, or the named one is quarantined.
    """
    if backup_id is None:
        healthy = catalog.healthy()
        if not healthy:
            raise NoSuchBackup(
                f"Cluster {catalog.cluster} has no healthy backup ({len(catalog.backups)} in all).",
                hint="`restore-replay list` shows what there is; name one with --backup.",
            )
        return healthy[-1]
    backup = catalog.backup(backup_id)
    if backup.state is BackupState.QUARANTINED and not allow_quarantined:
        why = backup.against[-1].failure
        raise NoSuchBackup(
            f"Backup {backup_id} is quarantined: {why.message if why else backup.against[-1].reason}",
            hint="Restore another, or use --quarantined to restore it nevertheless.",
        )
    return backup


def restore_backup(
    repository: Repository,
    manifest: Manifest,
    target: Path,
    *,
    transfer: Transfer,
    force: bool = False,
    progress: ProgressFn = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Restored:
    """Restore *manifest*'s backup into the data directory *target*.

    :param force: replace the content of *target*; by default, *target* must be empty or hold an interrupted restore of
        the same backup.
    :raises TargetNotEmpty: *target* has content, or a server runs on it.
    :raises NodeFull: there is not enough space.
    :raises ChunkMissing, ChunkCorrupt: the backup is damaged; the message names chunk and file.
    """
    started = time.monotonic()
    resumed = _prepare(target, manifest.backup_id, force=force)
    files = repository.load_files(manifest)
    if resumed:
        _remove_strangers(target, files)
    require_space(
        target,
        manifest.sizes.restored_bytes,
        what=f"Backup {manifest.backup_id}",
        hint="Free space there, or restore to another disk.",
        held_bytes=allocated_bytes(target),
    )
    result = restore_tree(
        repository.chunks_for(manifest),
        files,
        target,
        chunk_size_bytes=manifest.chunk_size_bytes,
        threads=transfer.threads,
        rate_limit=RateLimit(transfer.rate_limit),
        progress=_marking(target, manifest.backup_id, progress),
        cancelled=cancelled,
        resume=resumed,
        label=manifest.backup_id,
    )
    (target / MARKER).unlink(missing_ok=True)
    return Restored(
        backup_id=manifest.backup_id,
        position=manifest.position,
        target=str(target),
        bytes=result.bytes,
        fetched_bytes=result.fetched_bytes,
        seconds=round(time.monotonic() - started, 3),
        resumed=resumed,
        event_sql=tuple(event_statements(manifest.event_states)),
    )


def event_statements(states: dict[str, str]) -> Iterable[str]:
    """Yield statements that re-enable the events enabled on the primary, which are disabled in a replica's copy."""
    for event, status in sorted(states.items()):
        if status.upper() == "ENABLED":
            schema, _, name = event.partition(".")
            yield f"ALTER EVENT {identifier(schema)}.{identifier(name)} ENABLE;"


def _prepare(target: Path, backup_id: str, *, force: bool) -> bool:
    """Create *target*, and return whether it has content that a restore may reuse.

    :raises TargetNotEmpty: it has other content, or a server runs on it.
    """
    if target.exists() and not target.is_dir():
        raise TargetNotEmpty(f"{target} is not a directory.", hint="Name an empty or new directory.")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    entries = os.listdir(target)
    if not entries:
        return False
    _refuse_running_server(target)
    if _interrupted(target) == backup_id or force:
        return True
    raise TargetNotEmpty(
        f"{target} is not empty: it has {len(entries)} entries, {sorted(entries)[0]} among them.",
        hint="Name an empty or new directory; --force replaces everything in this one.",
    )


def _marking(target: Path, backup_id: str, progress: ProgressFn) -> ProgressFn:
    """Return *progress*, extended to write the marker at its first call, when the first files have been created.

    With a marker from the start, an empty directory would count as one with content, whose holes are read and hashed.
    """
    content = encode({"backup_id": backup_id})

    def report(done: int, total: int) -> None:
        if not marked:
            (target / MARKER).write_bytes(content)
            marked.append(True)
        progress(done, total)

    marked: list[bool] = []
    return report


def _interrupted(target: Path) -> str | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        marker: Any = decode((target / MARKER).read_bytes(), dict)
        return str(marker["backup_id"])
    return None


def _refuse_running_server(target: Path) -> None:
    """Raise if a server runs on *target*: InnoDB holds a POSIX lock on the system tablespace while it runs.

    :raises TargetNotEmpty: a server runs on it.
    """
    try:
        handle = os.open(target / "ibdata1", os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        raise TargetNotEmpty(
            f"A server runs on {target}.", hint="Stop it first, or restore elsewhere."
        ) from exc
    finally:
        os.close(handle)


def _remove_strangers(target: Path, files: list[FileEntry]) -> None:
    """Remove files and directories that the backup does not have, so that old and restored files never mix."""
    wanted = {entry.path: entry.directory for entry in files}
    for folder, names, plain in os.walk(target, topdown=True, followlinks=False):
        for name in [*names, *plain]:
            path = Path(folder, name)
            relative = path.relative_to(target).as_posix()
            mode = path.lstat().st_mode
            if relative == MARKER or _same_kind(mode, wanted.get(relative)):
                continue
            if stat.S_ISDIR(mode):
                shutil.rmtree(path)
                names.remove(name)
            else:
                path.unlink()


def _same_kind(mode: int, directory: bool | None) -> bool:
    return directory is not None and (stat.S_ISDIR(mode) if directory else stat.S_ISREG(mode))
