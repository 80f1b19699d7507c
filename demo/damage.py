"""Damage a backup as a failing disk would: one flipped byte in one stored object."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.repository.format.refs import ChunkRef, content_name, leaves, object_of
from airflow_restore_replay.core.repository.repository import Repository
from demo.place import Place


@dataclass(frozen=True)
class Damage:
    """A damaged chunk of a backup.

    :param ref: the chunk's reference.
    :param name: what messages call it.
    :param file, index: where a backup uses it.
    :param stored: the damaged object.
    """

    ref: ChunkRef
    name: str
    file: str
    index: int
    stored: str


def references(repository: Repository, manifest: Manifest, file: str) -> Sequence[ChunkRef]:
    """Return chunk references of a file of a backup."""
    for entry in repository.load_files(manifest):
        if entry.path == file:
            return entry.chunks
    sys.exit(f"Backup {manifest.backup_id} has no file {file}.")


def flip_one_byte(
    repository: Repository,
    place: Place,
    manifest: Manifest,
    file: str,
    *,
    not_in: Manifest | None = None,
) -> Damage:
    """Flip one bit of one byte in a stored chunk of *file*.

    :param place: where the repository is.
    :param not_in: an older backup that must not share the chunk.
    """
    shared = set(references(repository, not_in, file)) if not_in else set()
    for index, ref in enumerate(references(repository, manifest, file)):
        if ref is not None and ref not in shared:
            leaf = leaves(ref)[-1]
            stored = object_of(leaf)
            content = bytearray(place.read(repository.cluster, stored))
            middle = len(content) // 2 if isinstance(leaf, str) else leaf.offset + leaf.stored_bytes // 2
            content[middle] ^= 0x01
            place.write(repository.cluster, stored, bytes(content))
            return Damage(ref, content_name(leaf), file, index, stored)
    sys.exit(f"Backup {manifest.backup_id} has no chunk of {file} to itself.")
