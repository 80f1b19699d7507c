"""What a cluster's state tells of leases, and of the archive of binary logs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.lag import archive_lag
from airflow_restore_replay.core.archive.overview import Overview
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import StoreFailed
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.fleet.state import Gap, Holder, Logs
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import LogGap
from airflow_restore_replay.core.repository.lease import Lease
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo


@dataclass(frozen=True)
class Archived:
    """The archive, as far as it was read.

    :param listed: objects of the records of its pieces.
    :param noted: a gap was noticed, ever.
    :param archive: None if only the newest records are needed.
    """

    listed: list[ObjectInfo]
    noted: bool = False
    archive: Archive | None = None

    @property
    def exists(self) -> bool:
        return bool(self.listed) or self.noted


def archive_of(
    repository: Repository,
    cluster: Cluster,
    catalog: Catalog,
    *,
    everything: bool,
    unreadable: dict[str, str],
) -> Archived:
    """Read the archive: all of its records if *everything*, or if a gap may matter; else only the newest ones.

    :param unreadable: gets name of a record → what is wrong with it.
    """
    listed = list(repository.store.list("logpieces/"))
    gaps, bad = repository.records(LogGap)
    unreadable |= bad
    exists = bool(listed or gaps)
    if exists and (everything or _may_matter(gaps, catalog, get_flavor(cluster.flavor))):
        archive = Archive.read(repository)
        unreadable |= archive.unreadable
        return Archived(listed, bool(gaps), archive)
    return Archived(listed, bool(gaps))


def logs_of(
    repository: Repository,
    cluster: Cluster,
    catalog: Catalog,
    archived: Archived,
    now: datetime,
    unreadable: dict[str, str],
) -> Logs | None:
    """Return the state of the archive; None if there is none."""
    archiver = holder_of(repository.log_lease, now, "logleases/", unreadable)
    if not archived.exists:
        return Logs(archiver=archiver) if archiver else None
    lag = archive_lag(repository, archived.listed)
    seen: Overview | None = None
    if archived.archive:
        seen = Overview.of(archived.archive, catalog, get_flavor(cluster.flavor))
    if seen is None:
        return Logs(current_at=lag.current_at, rpo_s=lag.seconds(now), archiver=archiver)
    return Logs(
        current_at=lag.current_at,
        rpo_s=lag.seconds(now),
        archiver=archiver,
        examined=True,
        begin=seen.window.begin,
        end=seen.window.end,
        holes=seen.window.holes,
        gaps=tuple(
            Gap(gap_id=gap.gap_id, at=gap.at, lacking=gap.lacking, reason=gap.reason) for gap in seen.gaps
        ),
        size_bytes=seen.size_bytes,
        bytes_a_day=seen.bytes_a_day,
    )


def holder_of(lease: Lease, now: datetime, folder: str, unreadable: dict[str, str]) -> Holder | None:
    """Return the holder of a lease; None if it was released, or never claimed.

    :param folder: the name under which *unreadable* gets what is wrong with the lease.
    """
    try:
        state = lease.holder()
    except StoreFailed as exc:
        unreadable[folder] = exc.message
        return None
    if state is None:
        return None
    doing = state.doing
    return Holder(
        run=state.owner,
        epoch=state.epoch,
        since=state.acquired_at,
        expires_at=state.expires_at,
        live=state.live(now),
        told_at=state.renewed_at,
        step=doing.step if doing else "",
        phase=doing.phase if doing else "",
        done=doing.done if doing and (doing.done or doing.total) else None,
        total=doing.total or None if doing else None,
        unit=doing.unit if doing else "",
        rate_per_s=doing.rate_per_s or None if doing else None,
        eta_s=doing.eta_s if doing else None,
    )


def _may_matter(gaps: list[LogGap], catalog: Catalog, flavor: Flavor) -> bool:
    """Return whether the newest healthy backup lacks what is after one of *gaps*."""
    healthy = catalog.healthy()
    if not gaps or not healthy:
        return bool(gaps)
    position = flavor.parse_position(healthy[-1].manifest.position)
    return any(not position.contains(flavor.parse_position(gap.after)) for gap in gaps)
