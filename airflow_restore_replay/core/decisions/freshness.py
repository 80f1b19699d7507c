"""Tell how old the newest healthy backup is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import Proof


@dataclass(frozen=True)
class Freshness:
    """:param age_s: seconds since the newest healthy proven backup's position was read; None is unknown."""

    age_s: float | None
    backup: Backup | None
    proof: Proof
    healthy: int


def freshness(catalog: Catalog, *, now: datetime, proof: Proof = Proof.READ_BACK) -> Freshness:
    """Age of the newest healthy backup proven at least to *proof*: from when its position was read."""
    healthy = catalog.healthy(proof=proof)
    if not healthy:
        return Freshness(None, None, proof, 0)
    newest = healthy[-1]
    return Freshness((now - newest.manifest.goal_read_at).total_seconds(), newest, proof, len(healthy))
