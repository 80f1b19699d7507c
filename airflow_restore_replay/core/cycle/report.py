"""The result of a cycle, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.pruning.prune import PruneReport


@dataclass
class CycleReport:
    """Result of a cycle.

    :param as_of: the past time whose backup the run rebuilds.
    :param published_id: the new backup, or the existing one as of that time; empty when the run failed.
    :param steps: results of the jobs, ``replay.restore`` … ``full.snapshot``.
    :param quarantined: ids of the backups quarantined in this run.
    :param pruned: result of the pruning after the backup.
    :param proof: how far the new backup is proven.
    :param failure: why the run failed; if only the proof or pruning failed, a backup is published nevertheless.
    """

    cluster: str
    run: str
    as_of: datetime | None = None
    base_id: str = ""
    reason: str = ""
    published_id: str = ""
    proof: str = ""
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    quarantined: list[str] = field(default_factory=list)
    pruned: PruneReport | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    diagnosis: str = ""
    failure: Failure | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Return whether the run published a backup and failed at nothing."""
        return bool(self.published_id) and self.failure is None
