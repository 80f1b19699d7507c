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
from airflow_restore_replay.core.flavor.quoting import parted, qualified
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import BackupState, FileEntry, Manifest
from airflow_restore_replay.core.repository.rate_limit import ProgressFn, RateLimit
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.system.beneath import Beneath, is_own
from airflow_restore_replay.core.system.files import allocated_bytes, require_space

#: file in the target of an unfinished restore; it names the backup, so that a second try resumes
MARKER = ".restore-replay-partial"
_MARKER_BYTES = 4096
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
    with contextlib.closing(_held(target)) as held:
        resumed = _prepare(held, manifest.backup_id, force=force)
        files = repository.load_files(manifest)
        if resumed:
            _remove_strangers(held, files)
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
            progress=_marking(held, manifest.backup_id, progress),
            cancelled=cancelled,
            resume=resumed,
            label=manifest.backup_id,
            held=held,
        )
        held.remove(MARKER)
        settings = _option_file(manifest)
        if settings:
            held.replace(OPTION_FILE, settings.encode())
    return Restored(
        backup_id=manifest.backup_id,
        position=manifest.position,
        target=str(target),
        bytes=result.bytes,
        fetched_bytes=result.fetched_bytes,
        seconds=round(time.monotonic() - started, 3),
        resumed=resumed,
        option_file=str(target / OPTION_FILE) if settings else "",
        event_sql=tuple(event_statements(manifest.event_states)),
    )


def _option_file(manifest: Manifest) -> str:
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


def _held(target: Path) -> Beneath:
    """Create *target* if it is missing, and hold it open.

    :raises TargetNotEmpty: it is no directory, or another account could change what is restored into it.
    """
    if target.exists() and not target.is_dir():
        raise TargetNotEmpty(f"{target} is not a directory.", hint="Name an empty or new directory.")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = Beneath(target)
    info = os.fstat(held.descriptor)
    if is_own(info):
        return held
    held.close()
    raise TargetNotEmpty(
        f"Other accounts may write to {target}: it belongs to the uid {info.st_uid} and has the mode "
        f"{stat.S_IMODE(info.st_mode):04o}.",
        hint="Restore as its owner or into a new directory, or chown it for the restore and chmod go-w it.",
    )


def _prepare(target: Beneath, backup_id: str, *, force: bool) -> bool:
    """Return whether *target* has content that a restore may reuse.

    :raises TargetNotEmpty: it has other content, or a server runs on it.
    """
    entries = os.listdir(target.descriptor)
    if not entries:
        return False
    _refuse_running_server(target)
    if _interrupted(target) == backup_id or force:
        return True
    raise TargetNotEmpty(
        f"{target.path} is not empty: it has {len(entries)} entries, {sorted(entries)[0]} among them.",
        hint="Name an empty or new directory; --force replaces everything in this one.",
    )


def _marking(target: Beneath, backup_id: str, progress: ProgressFn) -> ProgressFn:
    """Return *progress*, extended to write the marker at its first call, when the first files have been created.

    With a marker from the start, an empty directory would count as one with content, whose holes are read and hashed.
    """
    content = encode({"backup_id": backup_id})

    def report(done: int, total: int) -> None:
        if not marked:
            target.replace(MARKER, content)
            marked.append(True)
        progress(done, total)

    marked: list[bool] = []
    return report


def _interrupted(target: Beneath) -> str | None:
    with (
        contextlib.suppress(OSError, msgspec.MsgspecError, KeyError),
        target.opened(MARKER, os.O_RDONLY | os.O_NONBLOCK) as descriptor,
    ):
        if is_own(os.fstat(descriptor)):
            marker: Any = decode(os.read(descriptor, _MARKER_BYTES), dict)
            return str(marker["backup_id"])
    return None


def _refuse_running_server(target: Beneath) -> None:
    """Raise if a server runs on *target*: InnoDB holds a POSIX lock on the system tablespace while it runs.

    :raises TargetNotEmpty: a server runs on it.
    """
    try:
        handle = target.open("ibdata1", os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        raise TargetNotEmpty(
            f"A server runs on {target.path}.", hint="Stop it first, or restore elsewhere."
        ) from exc
    finally:
        os.close(handle)


def _remove_strangers(target: Beneath, files: list[FileEntry]) -> None:
    """Remove files and directories that the backup does not have, so that old and restored files never mix.

    Also remove directories that another account may write, and links: what is in them could be replaced later.
    """
    wanted = {entry.path: entry.directory for entry in files}
    for folder, names, plain, descriptor in os.fwalk(".", dir_fd=target.descriptor):
        for name in [*names, *plain]:
            relative = os.path.normpath(f"{folder}/{name}")
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            is_marker = relative == MARKER and stat.S_ISREG(info.st_mode)
            if is_marker or _is_kept(info, wanted.get(relative)):
                continue
            if stat.S_ISDIR(info.st_mode):
                shutil.rmtree(name, dir_fd=descriptor)
                names.remove(name)
            else:
                os.unlink(name, dir_fd=descriptor)


def _is_kept(info: os.stat_result, directory: bool | None) -> bool:
    if directory is None:
        return False
    return stat.S_ISDIR(info.st_mode) and is_own(info) if directory else stat.S_ISREG(info.st_mode)
