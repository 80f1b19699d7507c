"""Retention: rules that keep backups, and a pure plan over the catalog.

A rule yields the backups that it keeps, with the reason. A backup that no rule keeps is deleted. Rules that count
consider healthy proven backups only, so damaged backups never displace good ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from airflow_restore_replay.core.config.sections import Retention
from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Proof

#: backups that a rule keeps, each with the reason
Kept = Iterator[tuple[Backup, str]]


@dataclass(frozen=True)
class RetentionPlan:
    """Decision about every readable backup.

    :param keep: backup id → all reasons to keep it.
    :param delete: backup id → why no rule keeps it.
    """

    keep: dict[str, list[str]] = field(default_factory=dict)
    delete: dict[str, str] = field(default_factory=dict)


def plan_retention(
    catalog: Catalog, policy: Retention, *, now: datetime, timezone: str = "UTC"
) -> RetentionPlan:
    """Decide for every readable backup whether it is kept.

    :param timezone: time zone of days, weeks and months; hours are those of UTC.
    """
    keep: dict[str, list[str]] = {}
    for backup, reason in _kept(catalog, policy, now, ZoneInfo(timezone)):
        keep.setdefault(backup.backup_id, []).append(reason)
    delete = {b.backup_id: _why(b) for b in catalog.backups if b.backup_id not in keep}
    return RetentionPlan(
        {b.backup_id: keep[b.backup_id] for b in catalog.backups if b.backup_id in keep}, delete
    )


def _kept(catalog: Catalog, policy: Retention, now: datetime, zone: ZoneInfo) -> Kept:
    counted = catalog.healthy()[::-1]
    yield from _last(counted, policy.last)
    yield from _within(counted, policy.keep_within)
    for name, count, period in _periods(policy, zone):
        yield from _newest_of_each(counted, name, count, period)
    yield from _protected(catalog, counted, policy)
    yield from _not_yet(catalog, policy, now)


def _last(newest_first: Sequence[Backup], count: int) -> Kept:
    for number, backup in enumerate(newest_first[:count], 1):
        yield backup, f"last {number} of {count}"


def _within(newest_first: Sequence[Backup], seconds: float | None) -> Kept:
    """Keep backups by age relative to the newest backup, so that time without backups deletes none."""
    if seconds is None or not newest_first:
        return
    limit = newest_first[0].manifest.goal_read_at - timedelta(seconds=seconds)
    for backup in newest_first:
        if backup.manifest.goal_read_at >= limit:
            yield backup, f"within {human_seconds(seconds)}"


def _periods(policy: Retention, zone: ZoneInfo) -> list[tuple[str, int, Callable[[datetime], object]]]:
    return [
        # In UTC, because an hour that a clock change repeats counts as two hours.
        ("hourly", policy.hourly, lambda at: f"{at.astimezone(UTC):%Y%m%d%H}"),
        ("daily", policy.daily, lambda at: at.astimezone(zone).date()),
        ("weekly", policy.weekly, lambda at: at.astimezone(zone).isocalendar()[:2]),
        ("monthly", policy.monthly, lambda at: f"{at.astimezone(zone):%Y%m}"),
    ]


def _newest_of_each(
    newest_first: Sequence[Backup], name: str, count: int, period: Callable[[datetime], object]
) -> Kept:
    seen: set[object] = set()
    for backup in newest_first:
        key = period(backup.manifest.goal_read_at)
        if key in seen:
            continue
        if len(seen) == count:
            return
        seen.add(key)
        yield backup, f"{name} {len(seen)} of {count}"


def _protected(catalog: Catalog, newest_first: Sequence[Backup], policy: Retention) -> Kept:
    """Keep backups that must not be deleted, whatever the configured rules are."""
    for backup in newest_first[: policy.min_count]:
        yield backup, f"min_count {policy.min_count}"
    if restored := [b for b in newest_first if b.proof is Proof.RESTORED]:
        yield restored[0], "newest that was restored"
    for backup in catalog.backups:
        if catalog.unreadable:
            yield backup, "a damaged record may be about it"
        if any(v.outcome is Outcome.STRANDED for v in backup.against):
            yield backup, "stranded: may hold the only copy; release it to allow its deletion"
        if backup.state is BackupState.HEALTHY and catalog.held_by:
            # It is not known since when the primary is damaged, and so not which backup is the last good one.
            yield backup, f"held by {catalog.held_by[0].verdict_id}"
        if not policy.has_rule:
            yield backup, "no keep rule is configured"


def _not_yet(catalog: Catalog, policy: Retention, now: datetime) -> Kept:
    """Keep backups that are too young, or were quarantined too recently, to be deleted."""
    for backup in catalog.backups:
        if now - backup.manifest.created_at < timedelta(seconds=policy.grace):
            yield backup, f"younger than {human_seconds(policy.grace)}"
        since = _out_since(backup)
        if since and now - since < timedelta(seconds=policy.quarantined_within):
            yield backup, f"{_why(backup)}: kept for {human_seconds(policy.quarantined_within)}"


def _out_since(backup: Backup) -> datetime | None:
    """Return since when the backup is quarantined, stranded or unproven; None if it is healthy and proven."""
    if backup.against:
        return max(v.at for v in backup.against)
    return backup.manifest.created_at if backup.proof.rank < Proof.READ_BACK.rank else None


def _why(backup: Backup) -> str:
    if backup.state is not BackupState.HEALTHY:
        return backup.state.value
    return "not proven" if backup.proof.rank < Proof.READ_BACK.rank else "no rule keeps it"
