"""Let the data of a node take the place of the directory that the node was in."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from airflow_restore_replay.core.recovery import in_place
from airflow_restore_replay.core.recovery.restore import write_option_file
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.repository.transfer.walk import matches
from airflow_restore_replay.core.system.beneath import Beneath
from airflow_restore_replay.core.system.files import fsync_directory


def put_in_place(
    target: Beneath, data: Path, manifest: Manifest, excluded: Sequence[str], *, over: str
) -> None:
    """Move the data of a stopped node, which is below *target*, into *target* itself; idempotent.

    :param excluded: patterns of files that only a node has.
    :param over: the goal of a restore in place, whose old state gives way; empty if *target* has nothing else.
    """
    if data.exists():
        _remove_own_files(data, excluded)
    if over:
        if data.exists():
            with contextlib.closing(Beneath(data)) as place:
                write_option_file(place, manifest)
                os.fsync(place.descriptor)
        in_place.take_place(target, over, data)
        return
    for entry in sorted(data.iterdir()):
        entry.rename(target.path / entry.name)
    fsync_directory(target.path)
    write_option_file(target, manifest)


def _remove_own_files(data: Path, excluded: Sequence[str]) -> None:
    """Remove files of the node that no snapshot has: its identity, its logs, and what belongs to a running server."""
    for folder, names, plain in os.walk(data):
        for name in [*names, *plain]:
            path = Path(folder, name)
            if matches(str(path.relative_to(data)), excluded, directory=path.is_dir()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
