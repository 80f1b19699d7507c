"""The age of the newest healthy backup."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import Proof


@dataclass(frozen=True)
class Freshness:
    """Age of the newest healthy proven backup.

    :param age_s: seconds since the position of that backup was read from the primary; None if there is no such backup.
    :param proof: the proof that was required.
    :param healthy: number of healthy backups with that proof.
    """

    age_s: float | None
    backup: Backup | None
    proof: Proof
    healthy: int


def freshness(catalog: Catalog, *, now: datetime, proof: Proof = Proof.READ_BACK) -> Freshness:
    """Return the age of the newest healthy backup that is proven at least to *proof*."""
    healthy = catalog.healthy(proof=proof)
    if not healthy:
        return Freshness(None, None, proof, 0)
    newest = healthy[-1]
    return Freshness((now - newest.manifest.goal_read_at).total_seconds(), newest, proof, len(healthy))
