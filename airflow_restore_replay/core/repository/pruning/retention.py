"""Retention: rules that keep backups, and a pure plan over the catalog.

A rule yields the backups that it keeps, with the reason. A backup that no rule keeps is deleted. Rules that count
consider healthy proven backups only, so damaged backups never displace good ones. They are applied again to restored
backups alone, and to backups whose times the store confirms: see :mod:`.credibility`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from airflow_restore_replay.core.config.sections import Retention
from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.errors import NotReplayable
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Proof, Verdict
from airflow_restore_replay.core.repository.pruning.credibility import contradictions, stored_as_made

#: backups that a rule keeps, each with the reason
Kept = Iterator[tuple[Backup, str]]
#: the time by which a rule counts a backup
TimeOf = Callable[[Backup], datetime]
#: backups → id of each that the window of the archive needs, with the reason
Needed = Callable[[Sequence[Backup]], Mapping[str, str]]


@dataclass(frozen=True)
class RetentionPlan:
    """Decision about every readable backup.

    :param keep: backup id → all reasons to keep it.
    :param delete: backup id → why no rule keeps it.
    :param doubtful: backup id → why the record cannot be true; the backup is kept, and no rule counts it.
    :param window: ids of the backups that the window of the archive needs.
    """

    keep: dict[str, list[str]] = field(default_factory=dict)
    delete: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    window: set[str] = field(default_factory=set)


def plan_retention(
    catalog: Catalog,
    policy: Retention,
    *,
    now: datetime,
    timezone: str = "UTC",
    needed: Needed = lambda backups: {},
) -> RetentionPlan:
    """Decide for every readable backup whether it is kept.

    :param timezone: time zone of days, weeks and months; hours are those of UTC.
    :param needed: returns which of some backups the window of the archive needs, with the reason.
    """
    doubtful = contradictions(catalog)
    keep: dict[str, list[str]] = {backup_id: [f"doubtful: {why}"] for backup_id, why in doubtful.items()}
    counted = [b for b in catalog.healthy()[::-1] if b.backup_id not in doubtful]
    window: set[str] = set()
    for among, group, _ in _groups(catalog, counted):
        for backup_id, reason in needed(group).items():
            if backup_id not in window:
                keep.setdefault(backup_id, []).append(f"{reason}{among}")
            window.add(backup_id)
    for backup, reason in _kept(catalog, counted, policy, now, ZoneInfo(timezone)):
        keep.setdefault(backup.backup_id, []).append(reason)
    delete = {b.backup_id: _why(b) for b in catalog.backups if b.backup_id not in keep}
    kept = {b.backup_id: keep[b.backup_id] for b in catalog.backups if b.backup_id in keep}
    return RetentionPlan(kept, delete, doubtful, window)


def _kept(
    catalog: Catalog, counted: Sequence[Backup], policy: Retention, now: datetime, zone: ZoneInfo
) -> Kept:
    seen: set[str] = set()
    for among, group, time_of in _groups(catalog, counted):
        kept = list(_counting(group, policy, zone, time_of))
        yield from ((backup, f"{reason}{among}") for backup, reason in kept if backup.backup_id not in seen)
        seen |= {backup.backup_id for backup, _ in kept}
    yield from _protected(catalog, policy)
    yield from _not_yet(catalog, policy, now)


def _groups(
    catalog: Catalog, newest_first: Sequence[Backup]
) -> Iterator[tuple[str, Sequence[Backup], TimeOf]]:
    """Yield the groups that the counting rules apply to, so that no member of a group is displaced from outside it."""
    confirmed = [b for b in newest_first if stored_as_made(b.manifest, catalog.stored)]
    confirmed.sort(key=_made, reverse=True)
    yield "", newest_first, _read
    yield ", among restored backups", _restored(newest_first), _read
    yield ", among backups stored as they were made", confirmed, _made
    yield ", among restored backups stored as they were made", _restored(confirmed), _made


def _read(backup: Backup) -> datetime:
    return backup.manifest.goal_read_at


def _made(backup: Backup) -> datetime:
    return backup.manifest.created_at


def _restored(backups: Sequence[Backup]) -> list[Backup]:
    return [b for b in backups if b.proof is Proof.RESTORED]


def _counting(newest_first: Sequence[Backup], policy: Retention, zone: ZoneInfo, time_of: TimeOf) -> Kept:
    yield from _last(newest_first, policy.last)
    yield from _within(newest_first, policy.keep_within, time_of)
    for name, count, period in _periods(policy, zone):
        yield from _newest_of_each(newest_first, name, count, _period_of(period, time_of))
    for backup in newest_first[: policy.min_count]:
        yield backup, f"min_count {policy.min_count}"
    for backup in _restored(newest_first)[:1]:
        yield backup, "newest that was restored"


def _last(newest_first: Sequence[Backup], count: int) -> Kept:
    for number, backup in enumerate(newest_first[:count], 1):
        yield backup, f"last {number} of {count}"


def _within(newest_first: Sequence[Backup], seconds: float | None, time_of: TimeOf) -> Kept:
    """Keep backups by age relative to the newest backup, so that time without backups deletes none."""
    if seconds is None or not newest_first:
        return
    limit = time_of(newest_first[0]) - timedelta(seconds=seconds)
    for backup in newest_first:
        if time_of(backup) >= limit:
            yield backup, f"within {human_seconds(seconds)}"


def _periods(policy: Retention, zone: ZoneInfo) -> list[tuple[str, int, Callable[[datetime], object]]]:
    return [
        # In UTC, because an hour that a clock change repeats counts as two hours.
        ("hourly", policy.hourly, lambda at: f"{at.astimezone(UTC):%Y%m%d%H}"),
        ("daily", policy.daily, lambda at: at.astimezone(zone).date()),
        ("weekly", policy.weekly, lambda at: at.astimezone(zone).isocalendar()[:2]),
        ("monthly", policy.monthly, lambda at: f"{at.astimezone(zone):%Y%m}"),
    ]


def _period_of(period: Callable[[datetime], object], time_of: TimeOf) -> Callable[[Backup], object]:
    return lambda backup: period(time_of(backup))


def _newest_of_each(
    newest_first: Sequence[Backup], name: str, count: int, period: Callable[[Backup], object]
) -> Kept:
    seen: set[object] = set()
    for backup in newest_first:
        key = period(backup)
        if key in seen:
            continue
        if len(seen) == count:
            return
        seen.add(key)
        yield backup, f"{name} {len(seen)} of {count}"


def _protected(catalog: Catalog, policy: Retention) -> Kept:
    """Keep backups that must not be deleted, whatever the configured rules are."""
    for backup in catalog.backups:
        if catalog.unreadable:
            yield backup, "a damaged record may be about it"
        if any(v.outcome is Outcome.STRANDED and not _only_unreplayable(v) for v in backup.against):
            yield backup, "stranded: may hold the only copy; release it to allow its deletion"
        if backup.state is BackupState.HEALTHY and catalog.held_by:
            # It is not known since when the primary is damaged, and so not which backup is the last good one.
            yield backup, f"held by {catalog.held_by[0].verdict_id}"
        if not policy.has_rule:
            yield backup, "no keep rule is configured"


def _only_unreplayable(verdict: Verdict) -> bool:
    """Return whether the primary has all that the backup has."""
    return verdict.failure is not None and verdict.failure.code == NotReplayable.__name__


def _not_yet(catalog: Catalog, policy: Retention, now: datetime) -> Kept:
    """Keep backups that are too young, or were quarantined too recently, to be deleted."""
    for backup in catalog.backups:
        if now - backup.manifest.created_at < timedelta(seconds=policy.grace):
            yield backup, f"younger than {human_seconds(policy.grace)}"
        since = _out_since(backup, catalog.recorded)
        if since and now - since < timedelta(seconds=policy.quarantined_within):
            yield backup, f"{_why(backup)}: kept for {human_seconds(policy.quarantined_within)}"


def _out_since(backup: Backup, recorded: Mapping[str, datetime]) -> datetime | None:
    """Return since when the backup is quarantined, stranded or unproven; None if it is healthy and proven.

    A verdict counts from when the store got it: its writer may have dated it back, so that the backup is deleted soon.
    """
    if backup.against:
        return max(max(v.at, recorded.get(v.verdict_id, v.at)) for v in backup.against)
    return backup.manifest.created_at if backup.proof.rank < Proof.READ_BACK.rank else None


def _why(backup: Backup) -> str:
    if backup.state is not BackupState.HEALTHY:
        return backup.state.value
    return "not proven" if backup.proof.rank < Proof.READ_BACK.rank else "no rule keeps it"
