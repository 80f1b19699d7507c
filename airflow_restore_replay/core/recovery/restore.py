"""Restore a backup into an empty directory for a person; resumable, without Airflow or the primary."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.config.sections import Transfer
from airflow_restore_replay.core.errors import NoSuchBackup
from airflow_restore_replay.core.flavor.quoting import parted, qualified
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.recovery.selection import Selection
from airflow_restore_replay.core.recovery.target_dir import MARKER, begin, held, prepare, remove_strangers
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import BackupState, FileEntry, Manifest
from airflow_restore_replay.core.repository.format.refs import chunk_bytes
from airflow_restore_replay.core.repository.rate_limit import ProgressFn, RateLimit
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.older_state import OlderState
from airflow_restore_replay.core.repository.transfer.restore import RestoreResult, restore_tree
from airflow_restore_replay.core.system.beneath import Beneath
from airflow_restore_replay.core.system.files import allocated_bytes, require_space

#: file in the target with options for a server, see :class:`Restored`
OPTION_FILE = "restored.cnf"


@dataclass(frozen=True)
class Restored:
    """Result of a restore.

    :param position: GTID set of the transactions that the data contains.
    :param fetched_bytes: bytes read from the store; less than *bytes* after a resumed try.
    :param option_file: has the primary's settings that the data depend on, for the server that is started on them;
        empty if the backup has none.
    :param event_sql: statements that re-enable the events that are disabled on a replica.
    """

    backup_id: str
    position: str
    target: str
    bytes: int
    fetched_bytes: int
    seconds: float
    resumed: bool
    option_file: str
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
    only: Selection | None = None,
    unfinished: bool = False,
    progress: ProgressFn = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Restored:
    """Restore *manifest*'s backup into the data directory *target*.

    :param force: replace the content of *target*; by default, *target* must be empty or hold an interrupted restore of
        the same backup.
    :param unfinished: leave the marker of an unfinished restore, because the caller has more to do.
    :param only: restore only these tables, with what the server itself needs.
    :raises NoSuchTable: the backup has no table that *only* names.
    :raises TargetNotEmpty: *target* has content, or a server runs on it.
    :raises NodeFull: there is not enough space.
    :raises ChunkMissing, ChunkCorrupt: the backup is damaged; the message names chunk and file.
    """
    started = time.monotonic()
    files = repository.load_files(manifest)
    if only:
        files = only.chosen(files, manifest).files
    mark = mark_of(manifest, only)
    with contextlib.closing(held(target)) as place:
        resumed = prepare(place, mark, force=force)
        if resumed:
            remove_strangers(place, files)
        require_space(
            target,
            content_bytes(files, manifest.chunk_size_bytes) if only else manifest.sizes.restored_bytes,
            what=f"Backup {manifest.backup_id}",
            hint="Free space there, or restore to another disk.",
            held_bytes=allocated_bytes(target),
        )
        begin(place, mark)
        result = write_files(
            repository,
            manifest,
            files,
            place,
            transfer=transfer,
            progress=progress,
            cancelled=cancelled,
            resume=resumed,
            marker=MARKER,
        )
        if not unfinished:
            place.remove(MARKER)
    return restored_of(
        manifest,
        target,
        size_bytes=result.bytes,
        fetched_bytes=result.fetched_bytes,
        seconds=time.monotonic() - started,
        resumed=resumed,
    )


def write_files(
    repository: Repository,
    manifest: Manifest,
    files: list[FileEntry],
    place: Beneath,
    *,
    transfer: Transfer,
    progress: ProgressFn,
    cancelled: Callable[[], bool],
    resume: bool,
    marker: str = "",
    older: OlderState | None = None,
) -> RestoreResult:
    """Write *files* of a backup into *place*, and the option file beside them.

    For the parameters see :func:`~airflow_restore_replay.core.repository.transfer.restore.restore_tree`.
    """
    result = restore_tree(
        repository.chunks_for(manifest),
        files,
        place.path,
        chunk_size_bytes=manifest.chunk_size_bytes,
        threads=transfer.threads,
        rate_limit=RateLimit(transfer.rate_limit),
        label=manifest.backup_id,
        held=place,
        progress=progress,
        cancelled=cancelled,
        resume=resume,
        marker=marker,
        older=older,
    )
    write_option_file(place, manifest)
    return result


def option_file_at(target: Path, manifest: Manifest) -> str:
    """Return the path of the option file in *target*; empty if the backup has none."""
    return str(target / OPTION_FILE) if option_file_of(manifest) else ""


def write_option_file(place: Beneath, manifest: Manifest) -> None:
    """Write the option file with the primary's settings, if the backup has them."""
    if settings := option_file_of(manifest):
        place.replace(OPTION_FILE, settings.encode())


def restored_of(
    manifest: Manifest, target: Path, *, size_bytes: int, fetched_bytes: int, seconds: float, resumed: bool
) -> Restored:
    """Return what a finished restore into *target* is to be told of."""
    return Restored(
        backup_id=manifest.backup_id,
        position=manifest.position,
        target=str(target),
        bytes=size_bytes,
        fetched_bytes=fetched_bytes,
        seconds=round(seconds, 3),
        resumed=resumed,
        option_file=option_file_at(target, manifest),
        event_sql=tuple(event_statements(manifest.event_states)),
    )


def mark_of(manifest: Manifest, only: Selection | None) -> str:
    """Return what the marker of an interrupted restore names, so that only the same restore resumes it."""
    return f"{manifest.backup_id} {only}" if only else manifest.backup_id


def content_bytes(files: Iterable[FileEntry], chunk_size_bytes: int) -> int:
    """Return how many bytes *files* occupy on disk, without holes."""
    return sum(
        chunk_bytes(entry.size_bytes, index, chunk_size_bytes)
        for entry in files
        for index, ref in enumerate(entry.chunks)
        if ref is not None
    )


def option_file_of(manifest: Manifest) -> str:
    """Return the content of the option file with the primary's settings; empty if the backup has none."""
    if not manifest.variables:
        return ""
    variables = get_flavor(manifest.flavor).variables
    return variables.option_file(
        manifest.variables, server={"mariadb": "mariadbd"}.get(manifest.flavor, "mysqld")
    )


def event_statements(states: dict[str, str]) -> Iterable[str]:
    """Yield statements that re-enable the events enabled on the primary, which are disabled in a replica's copy."""
    for event, status in sorted(states.items()):
        if status.upper() == "ENABLED":
            schema, name = parted(event)
            yield f"ALTER EVENT {qualified(schema, name)} ENABLE;"
