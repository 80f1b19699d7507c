"""A snapshot's upload phase by itself: the same work without the read-back of what was stored."""

from __future__ import annotations

from airflow_restore_replay.core.repository.chunks import ChunkStore, StoredChunk, chunk_path, split_ref
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store import AlreadyExists


class _UploadOnly(ChunkStore):
    def _create(self, ref: str, data: bytes) -> StoredChunk | None:
        stored = self.codec.encode(data, split_ref(ref)[0])
        try:
            self._store.put_new(chunk_path(ref), stored)
        except AlreadyExists:
            return StoredChunk(ref)
        return StoredChunk(ref, new=True, stored_bytes=len(stored))


def without_read_back(repository: Repository) -> None:
    """Let *repository*'s snapshots prove nothing."""
    repository.chunks.__class__ = _UploadOnly
