"""RTO and RPO of a cluster: what its restores took, what the next one is expected to take, and what is archived."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.window import Window
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.recovery.forecast import forecast
from airflow_restore_replay.core.recovery.measurements import DRILL, MeasuredRestore, measured_of
from airflow_restore_replay.core.repository.repository import Repository


@dataclass(frozen=True)
class Report:
    """RTO and RPO of a cluster.

    :param measured: drills and restores that succeeded, oldest first.
    :param failed: number of drills that failed.
    :param expected_s: seconds that a restore of all that is archived is expected to take; None if it is unknown.
    :param rto_target_s: as configured; None if it is not.
    :param rpo_s: seconds since the primary had logged nothing that is not archived; None if it is unknown.
    """

    cluster: str
    at: datetime
    measured: tuple[MeasuredRestore, ...] = ()
    failed: int = 0
    expected_s: float | None = None
    rto_target_s: float | None = None
    rpo_s: float | None = None
    window: Window = field(default_factory=Window)

    @property
    def drills(self) -> tuple[MeasuredRestore, ...]:
        return tuple(m for m in self.measured if m.kind == DRILL)

    @property
    def restores(self) -> tuple[MeasuredRestore, ...]:
        """Return restores into real targets."""
        return tuple(m for m in self.measured if m.kind != DRILL)

    @property
    def meets_target(self) -> bool | None:
        """Return whether the expected time is within the target; None if one of them is unknown."""
        if self.expected_s is None or self.rto_target_s is None:
            return None
        return self.expected_s <= self.rto_target_s


def report_of(repository: Repository, cluster: Cluster, now: datetime) -> Report:
    """Read catalog and archive, and derive the report."""
    catalog, archive = repository.catalog(), Archive.read(repository)
    flavor = get_flavor(cluster.flavor)
    window = archive.window(catalog, flavor)
    healthy = [b.manifest for b in catalog.healthy()]
    expected = None
    if healthy:
        routes = archive.routes(flavor)
        transactions = routes.from_position(routes.parse(healthy[-1].position)).transactions
        size = healthy[-1].sizes.restored_bytes
        expected = forecast(catalog, size, starting=True, transactions=transactions).seconds
    current_at = window.current_at
    return Report(
        cluster=cluster.name,
        at=now,
        measured=measured_of(catalog),
        failed=len({v.run for v in catalog.verdicts if v.attempt == DRILL and v.failure}),
        expected_s=expected,
        rto_target_s=cluster.drill.rto_target,
        rpo_s=round((now - current_at).total_seconds(), 3) if current_at else None,
        window=window,
    )
