"""Bring a broken data directory to a backup: fetch what differs, and keep the old state until the new one is whole.

Where there is room, the new state is built inside the directory, out of the chunks of the old one that are right and of
fetched ones. Then the old entries move out of the way, the new ones into their place, and the old ones are removed. A
marker says which of these steps is under way, so that the same command resumes after it was killed at any point. Where
there is no room for both states, each chunk of the old one gives its room back once the new one has it.

A restore to a moment builds the new state elsewhere below the directory, and takes the same steps from there on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.config.sections import Transfer
from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.errors import TargetNotEmpty
from airflow_restore_replay.core.recovery.restore import (
    Restored,
    content_bytes,
    restored_of,
    write_files,
)
from airflow_restore_replay.core.recovery.target_dir import (
    SCRATCH,
    held,
    refuse_running_server,
    remove_strangers,
)
from airflow_restore_replay.core.repository.format.records import FileEntry, Manifest
from airflow_restore_replay.core.repository.rate_limit import ProgressFn
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.older_state import OlderState
from airflow_restore_replay.core.system.beneath import Beneath, is_own
from airflow_restore_replay.core.system.files import allocated_bytes

_MARK = ".restore-replay-in-place"
_NEW = ".restore-replay-new"
_OLD = ".restore-replay-old"
_OURS = (_MARK, f"{_MARK}.tmp", _NEW, _OLD, SCRATCH)
_MARK_BYTES = 4096
#: room that must stay free beside both states
_SPARE_BYTES = 64 * 2**20


class Step(StrEnum):
    """What is under way, in order.

    :cvar BUILD: the new state is built; the old one is untouched if there is room for both.
    :cvar OUT: old entries move out of the way.
    :cvar IN: new entries move into their place.
    :cvar CLEAN: the old state is removed.
    """

    BUILD = "build"
    OUT = "out"
    IN = "in"
    CLEAN = "clean"


class Mark(msgspec.Struct, frozen=True):
    """Content of the marker.

    :param goal: options of the command that name the new state.
    """

    goal: str
    step: Step


def goal_of(manifest: Manifest) -> str:
    """Return the options of the command that name a backup."""
    return f"--backup {manifest.backup_id}"


def examine(target: Path, goal: str, files: Iterable[FileEntry], *, to_moment: bool = False) -> str:
    """Return what is known of a directory that is to be brought to another state.

    :param goal: options of the command that name that state.
    :param files: of a backup, by which a data directory is recognized.
    :param to_moment: accept an unfinished restore to a moment.
    :raises TargetNotEmpty: it is no data directory, a server runs on it, others may write to it, or an unfinished
        restore of another state has taken it apart.
    """
    if not target.is_dir():
        raise TargetNotEmpty(
            f"{target} is no directory.", hint="Without --in-place, restore makes a new one."
        )
    with contextlib.closing(held(target)) as place:
        refuse_running_server(place)
        mark = _read(place)
        if mark and mark.goal != goal and mark.step is not Step.BUILD:
            raise TargetNotEmpty(
                f"{target} is between its old state and that of {mark.goal}.",
                hint=f"Finish that first: --in-place {mark.goal}.",
            )
        entries = os.listdir(place.descriptor)
        if SCRATCH in entries and not to_moment:
            raise TargetNotEmpty(
                f"{target} holds an interrupted restore to a moment.",
                hint=f"Call the same command to resume it; to give it up, remove {target / SCRATCH}.",
            )
        names = {*entries} - {*_OURS}
        known = {entry.path.partition("/")[0] for entry in files}
        if not mark and not names & known:
            raise TargetNotEmpty(
                f"{target} has nothing of a data directory of this cluster.",
                hint="Name the data directory itself; without --in-place, restore makes a new one.",
            )
        return f"unfinished, at the step {mark.step}" if mark else f"{len(names)} entries"


def keeps_old(target: Path, size_bytes: int) -> bool:
    """Return whether there is room for the old state beside the new one."""
    held_bytes = sum(allocated_bytes(target / built) for built in (_NEW, SCRATCH))
    return shutil.disk_usage(target).free + held_bytes >= size_bytes + _SPARE_BYTES


def restore_in_place(
    repository: Repository,
    manifest: Manifest,
    target: Path,
    files: list[FileEntry],
    *,
    transfer: Transfer,
    progress: ProgressFn,
    cancelled: Callable[[], bool],
) -> Restored:
    """Bring *target* to the backup.

    :raises TargetNotEmpty: see :func:`examine`.
    :raises ChunkMissing, ChunkCorrupt: the backup is damaged; the old state is untouched if it was kept.
    """
    goal = goal_of(manifest)
    examine(target, goal, files)
    started = time.monotonic()
    with contextlib.closing(held(target)) as place:
        mark = _read(place)
        swapping = mark is not None and mark.step is not Step.BUILD
        fetched = 0
        if not swapping:
            size = content_bytes(files, manifest.chunk_size_bytes)
            fetched = _build(
                repository,
                manifest,
                place,
                files,
                old_state(place, size),
                transfer=transfer,
                progress=progress,
                cancelled=cancelled,
            )
        _swap(place, goal, mark.step if mark and swapping else Step.OUT)
    return restored_of(
        manifest,
        target,
        size_bytes=sum(entry.size_bytes for entry in files),
        fetched_bytes=fetched,
        seconds=time.monotonic() - started,
        resumed=True,
    )


def old_state(place: Beneath, size_bytes: int) -> OlderState:
    """Return what a directory has, of which a new state of that size takes what is right.

    If there is no room for both, it gives way.
    """
    return OlderState(place, consumed=not keeps_old(place.path, size_bytes))


def begin(place: Beneath, goal: str) -> None:
    """Mark the directory as one whose new state is built, unless its parts change places already."""
    mark = _read(place)
    if mark is None or mark.step is Step.BUILD:
        if mark is None or mark.goal != goal:
            _remove(place, _NEW)
        _write(place, Mark(goal, Step.BUILD))


def take_place(place: Beneath, goal: str, built: Path) -> None:
    """Let the whole state in *built*, a directory of the same disk, take the place of the old one; idempotent.

    :func:`begin` was called before.
    """
    mark = _read(place)
    step = mark.step if mark and mark.step is not Step.BUILD else Step.OUT
    if built.exists():
        built.rename(place.path / _NEW)
        os.fsync(place.descriptor)
    elif mark is None:
        return  # a killed call had done all of it
    _swap(place, goal, step)


def _build(
    repository: Repository,
    manifest: Manifest,
    place: Beneath,
    files: list[FileEntry],
    older: OlderState,
    *,
    transfer: Transfer,
    progress: ProgressFn,
    cancelled: Callable[[], bool],
) -> int:
    """Build the new state beside the old one, and return how many bytes were fetched."""
    begin(place, goal_of(manifest))
    place.make_directory(_NEW)
    with contextlib.closing(place.below(_NEW)) as new:
        if not is_own(os.fstat(new.descriptor)):
            raise TargetNotEmpty(f"{new.path} was made by another account.", hint="Remove it.")
        remove_strangers(new, files)
        result = write_files(
            repository,
            manifest,
            files,
            new,
            transfer=transfer,
            progress=progress,
            cancelled=cancelled,
            resume=True,
            older=older,
        )
    return result.fetched_bytes


def _swap(place: Beneath, goal: str, step: Step) -> None:
    """Let the new state take the place of the old one; resumes at *step*."""
    if step is Step.OUT:
        _write(place, Mark(goal, Step.OUT))
        place.make_directory(_OLD)
        with contextlib.closing(place.below(_OLD)) as old:
            for name in sorted({*os.listdir(place.descriptor)} - {*_OURS}):
                place.move(name, old)
            os.fsync(old.descriptor)
        os.fsync(place.descriptor)
        step = Step.IN
    if step is Step.IN:
        _write(place, Mark(goal, Step.IN))
        with contextlib.closing(place.below(_NEW)) as new:
            for name in sorted(os.listdir(new.descriptor)):
                new.move(name, place)
        os.fsync(place.descriptor)
    _write(place, Mark(goal, Step.CLEAN))
    for name in (_OLD, _NEW):
        _remove(place, name)
    place.remove(_MARK)
    os.fsync(place.descriptor)


def _read(place: Beneath) -> Mark | None:
    with (
        contextlib.suppress(OSError, msgspec.MsgspecError),
        place.opened(_MARK, os.O_RDONLY | os.O_NONBLOCK) as descriptor,
    ):
        if is_own(os.fstat(descriptor)):
            return decode(os.read(descriptor, _MARK_BYTES), Mark)
    return None


def _write(place: Beneath, mark: Mark) -> None:
    place.replace(_MARK, encode(mark))


def _remove(place: Beneath, name: str) -> None:
    """Remove an entry of ours, whatever somebody made of it."""
    with contextlib.suppress(FileNotFoundError):
        info: Any = os.stat(name, dir_fd=place.descriptor, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            shutil.rmtree(name, dir_fd=place.descriptor)
        else:
            place.remove(name)
