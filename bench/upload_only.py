"""A snapshot's upload phase by itself: the same work without the read-back of what was stored."""

from __future__ import annotations

from typing import Any

from airflow_restore_replay.core.repository.objects.bundles import Bundler
from airflow_restore_replay.core.repository.objects.chunks import ChunkStore


def _no_fault(self: object, ref: str, expected: Any) -> str:
    return ""


def without_read_back() -> None:
    """Let this process's snapshots prove nothing."""
    for kind in (ChunkStore, Bundler):
        setattr(kind, "_read_back", _no_fault)  # noqa: B010 - the types say that it is not to be replaced
