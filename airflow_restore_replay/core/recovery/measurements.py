"""What restores of a cluster took, as drills recorded it, and what the next one is expected to take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.window import Window
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Outcome, Verdict
from airflow_restore_replay.core.repository.repository import Repository

#: attempt and step in the verdict of a drill
DRILL = "drill"
#: phases that a person waits for; a drill's checks are not among them
RTO_PHASES = ("plan", "restore", "replay", "stop", "move", "start_restored")


@dataclass(frozen=True)
class Drilled:
    """A drill that succeeded.

    :param phases: seconds by phase.
    """

    at: datetime
    backup_id: str
    wanted: str
    phases: dict[str, float]
    bytes: int = 0
    files: int = 0
    fetched_bytes: int = 0
    log_bytes: int = 0
    transactions: int = 0

    @property
    def rto_s(self) -> float:
        """Return the seconds until the restored server could be used."""
        return round(sum(self.phases.get(name, 0.0) for name in RTO_PHASES), 3)


@dataclass(frozen=True)
class Report:
    """RTO and RPO of a cluster.

    :param drills: oldest first.
    :param failed: number of drills that failed.
    :param expected_s: seconds that a restore of all that is archived is expected to take; None if it is unknown.
    :param rto_target_s: as configured; None if it is not.
    :param rpo_s: seconds since the primary had logged nothing that is not archived; None if it is unknown.
    """

    cluster: str
    at: datetime
    drills: tuple[Drilled, ...] = ()
    failed: int = 0
    expected_s: float | None = None
    rto_target_s: float | None = None
    rpo_s: float | None = None
    window: Window = field(default_factory=Window)

    @property
    def meets_target(self) -> bool | None:
        """Return whether the expected time is within the target; None if one of them is unknown."""
        if self.expected_s is None or self.rto_target_s is None:
            return None
        return self.expected_s <= self.rto_target_s


def drills_of(catalog: Catalog) -> tuple[Drilled, ...]:
    """Return the cluster's drills that succeeded, oldest first; records that cannot be understood are left out."""
    found = (_drilled(v) for v in catalog.verdicts if v.attempt == DRILL and v.outcome is Outcome.RESTORED)
    return tuple(drilled for drilled in found if drilled)


def report_of(repository: Repository, cluster: Cluster, now: datetime) -> Report:
    """Read catalog and archive, and derive the report."""
    catalog, archive = repository.catalog(), Archive.read(repository)
    flavor = get_flavor(cluster.flavor)
    window = archive.window(catalog, flavor)
    drills = drills_of(catalog)
    healthy = [b.manifest for b in catalog.healthy()]
    newest = healthy[-1] if healthy else None
    routes = archive.routes(flavor)
    legs = routes.from_position(routes.parse(newest.position)).legs if newest else ()
    transactions = sum(log.transactions for leg in legs for log in leg.logs)
    current_at = window.current_at
    return Report(
        cluster=cluster.name,
        at=now,
        drills=drills,
        failed=len({v.run for v in catalog.verdicts if v.attempt == DRILL and v.failure}),
        expected_s=expected_seconds(drills, newest.sizes.restored_bytes, transactions) if newest else None,
        rto_target_s=cluster.drill.rto_target,
        rpo_s=round((now - current_at).total_seconds(), 3) if current_at else None,
        window=window,
    )


def expected_seconds(drills: Sequence[Drilled], size_bytes: int, transactions: int) -> float | None:
    """Forecast how long a restore takes, by the rates of the last drills.

    :param size_bytes: of the backup.
    :param transactions: to be replayed.
    :returns: None if no drill was recorded.
    """
    recent = drills[-10:]
    if not recent:
        return None
    fetching = _rate((d.phases.get("restore", 0.0), d.bytes) for d in recent)
    replaying = _rate((d.phases.get("replay", 0.0), d.transactions) for d in recent)
    fixed = median(
        sum(d.phases.get(name, 0.0) for name in RTO_PHASES if name not in ("restore", "replay"))
        for d in recent
    )
    return round(fixed + fetching * size_bytes + replaying * transactions, 1)


def _rate(measured: Iterable[tuple[float, int]]) -> float:
    """Return the median of seconds per unit."""
    return median([seconds / amount for seconds, amount in measured if amount] or [0.0])


def _drilled(verdict: Verdict) -> Drilled | None:
    measured: Any = verdict.measured.get(DRILL)
    try:
        return Drilled(
            at=verdict.at,
            backup_id=str(measured["backup_id"]),
            wanted=str(measured["wanted"]),
            phases={str(name): float(seconds) for name, seconds in measured["phases"].items()},
            **{
                name: int(measured.get(name, 0))
                for name in ("bytes", "files", "fetched_bytes", "log_bytes", "transactions")
            },
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
