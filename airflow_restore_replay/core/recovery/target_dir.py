"""The directory that a backup is restored into: what may be written to it, and what may stay in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import TargetNotEmpty
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.system.beneath import Beneath, is_own

#: file in the target of an unfinished restore; it names the backup, so that a second try resumes
MARKER = ".restore-replay-partial"
#: directory in the target of an unfinished restore to a moment
SCRATCH = ".restore-replay"
_MARKER_BYTES = 4096
_SERVERS = ("mariadbd", "mysqld")


def held(target: Path) -> Beneath:
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


def examine(target: Path, mark: str, *, force: bool) -> bool:
    """Return what :func:`held` and :func:`prepare` would, without making *target*.

    :raises TargetNotEmpty: as they do.
    """
    if not target.exists() and not target.is_symlink():
        return False
    with contextlib.closing(held(target)) as place:
        return prepare(place, mark, force=force)


def prepare(target: Beneath, mark: str, *, force: bool) -> bool:
    """Return whether *target* has content that a restore may reuse.

    :param mark: names what is restored, so that only the same restore resumes.
    :raises TargetNotEmpty: it has other content, or a server runs on it.
    """
    entries = os.listdir(target.descriptor)
    if not entries:
        return False
    refuse_running_server(target)
    if _interrupted(target) == mark or force:
        return True
    raise TargetNotEmpty(
        f"{target.path} is not empty: it has {len(entries)} entries, {sorted(entries)[0]} among them.",
        hint="Name an empty or new directory; --force replaces everything in this one.",
    )


def begin(target: Beneath, mark: str) -> None:
    """Mark the directory as one with an unfinished restore, before anything else is written."""
    target.replace(MARKER, encode({"backup_id": mark}))


def is_unfinished(target: Path, mark: str) -> bool:
    """Return whether *target* holds an interrupted restore that *mark* names."""
    if not target.is_dir():
        return False
    with contextlib.closing(Beneath(target)) as place:
        return _interrupted(place) == mark


def _interrupted(target: Beneath) -> str | None:
    with (
        contextlib.suppress(OSError, msgspec.MsgspecError, KeyError),
        target.opened(MARKER, os.O_RDONLY | os.O_NONBLOCK) as descriptor,
    ):
        if is_own(os.fstat(descriptor)):
            marker: Any = decode(os.read(descriptor, _MARKER_BYTES), dict)
            return str(marker["backup_id"])
    return None


def refuse_running_server(target: Beneath) -> None:
    """Raise if a server runs on *target*: InnoDB holds a POSIX lock on the system tablespace while it runs.

    :raises TargetNotEmpty: a server runs on it.
    """
    _refuse_process_in(target)
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


def _refuse_process_in(target: Beneath) -> None:
    """Raise if a process works in the directory, as a server does in its data directory, whatever files that has.

    :raises TargetNotEmpty: names the process.
    """
    here = os.fstat(target.descriptor)
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another account's
            found = (entry / "cwd").stat()
            if (found.st_dev, found.st_ino) != (here.st_dev, here.st_ino):
                continue
            program = (entry / "comm").read_text().strip()
            if program in _SERVERS or (entry / "exe").resolve().name in _SERVERS:
                raise TargetNotEmpty(
                    f"A server runs on {target.path}: {program}, process {entry.name}.",
                    hint="Stop it first, or restore elsewhere.",
                )


def remove_strangers(target: Beneath, files: list[FileEntry]) -> None:
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
