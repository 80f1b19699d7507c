"""Plan a prune from listings and file lists; this module changes nothing.

Deletion takes three steps, so that a suspended process cannot harm another:

1. A record names the manifests that retention does not keep; then they are deleted.
2. A record *condemns* objects that no manifest references. From then on no writer references them.
3. Objects that were condemned a grace period ago, and are still unreferenced, are deleted.

A run that lost its lease without noticing may still publish, but it references only what it stored or read before. If
it does so within the grace period, pruning sees its manifest in time. A run that is suspended while it deletes can only
delete objects that no run may use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow_restore_replay.core.config.sections import Retention
from airflow_restore_replay.core.errors import BackupFault, ManifestCorrupt, PruneUnsafe
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Condemned, LogPiece, Manifest
from airflow_restore_replay.core.repository.format.refs import PARTS, is_content_path, is_part_path
from airflow_restore_replay.core.repository.objects.record_store import manifest_path, record_path
from airflow_restore_replay.core.repository.pruning.credibility import MAX_SKEW_S
from airflow_restore_replay.core.repository.pruning.logs import (
    LogPlan,
    LogRules,
    NoLogs,
    ReadRules,
    left_alone,
    parts_of,
)
from airflow_restore_replay.core.repository.pruning.retention import RetentionPlan, plan_retention
from airflow_restore_replay.core.repository.reachability import ObjectWalk, is_file_list
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo
from airflow_restore_replay.core.system.parallel import run_bounded

#: keeps a record of condemned objects far below the size that readers accept; the next prune condemns the rest
MAX_CONDEMNED = 400_000
#: if a listing lacks more referenced objects than this, the listing is at fault, not the objects
_MAX_MISSING = 1000
_LOOKUPS = 8


@dataclass(frozen=True)
class PlannedDeletion:
    """A backup to be deleted.

    :param frees_bytes: stored bytes that only this backup, and backups before it in the plan, reference; None if
        unknown.
    """

    backup_id: str
    reason: str
    created_at: datetime
    total_bytes: int
    frees_bytes: int | None


@dataclass
class PrunePlan:
    """Plan of a prune.

    :param keep: backup id → reasons.
    :param delete: backups to be deleted, oldest first.
    :param too_many: backups that no rule keeps, if there are more than one prune may delete; *delete* is empty then.
    :param doubtful: backup id → why its record cannot be true; such backups are kept.
    :param condemn: objects that are unreferenced once *delete* is done; they are deleted after the grace period.
    :param sweep: objects that were condemned long enough ago to be deleted now.
    :param spent: records of condemned objects none of which is left.
    :param leftovers: remains of interrupted writes.
    :param young_bytes: unreferenced, but young enough to belong to a run in progress.
    :param missing: names of objects that backups need and that are gone; this is damage, which ``verify`` examines.
    :param withheld: why nothing, or no stored bytes, can be deleted; empty otherwise.
    :param rules: of the archive, which *logs* follows from.
    :param logs: what is kept and deleted of the archive.
    """

    cluster: str
    keep: dict[str, list[str]] = field(default_factory=dict)
    delete: list[PlannedDeletion] = field(default_factory=list)
    too_many: list[PlannedDeletion] = field(default_factory=list)
    doubtful: dict[str, str] = field(default_factory=dict)
    condemn: list[ObjectInfo] = field(default_factory=list)
    sweep: list[ObjectInfo] = field(default_factory=list)
    spent: list[ObjectInfo] = field(default_factory=list)
    leftovers: list[ObjectInfo] = field(default_factory=list)
    young_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    withheld: str = ""
    rules: LogRules = NoLogs()
    logs: LogPlan = LogPlan()


def plan_prune(
    repository: Repository,
    policy: Retention,
    *,
    timezone: str,
    now: datetime,
    logs: ReadRules = left_alone,
) -> PrunePlan:
    """Plan a prune from the catalog and the listings; delete nothing.

    :param logs: reads the rules of the archive; without them, it is left as it is.

    :raises PruneUnsafe: the clocks disagree, or a listing lacks existing objects.
    """
    catalog = repository.catalog()
    _refuse_partial_catalog(repository, catalog)
    _refuse_future(((m.backup_id, m.created_at) for m in catalog.manifests), now)
    limit = now - timedelta(seconds=policy.grace)
    rules = logs(repository, now, limit)
    retention = plan_retention(catalog, policy, now=now, timezone=timezone, needed=rules.needed)
    plan = PrunePlan(repository.cluster, keep=retention.keep, doubtful=retention.doubtful, rules=rules)
    by_id = {m.backup_id: m for m in catalog.manifests}
    objects = ObjectWalk(repository)
    live: set[str] = set()
    if catalog.unreadable:
        path, why = next(iter(catalog.unreadable.items()))
        plan.withheld = f"{len(catalog.unreadable)} records are not readable, first {path}: {why}"
        return plan
    if rules.withheld:
        plan.withheld = rules.withheld
        return plan
    if len(retention.delete) > policy.most_deleted:
        plan.too_many = [_doomed(by_id[i], why, None) for i, why in retention.delete.items()]
        plan.withheld = (
            f"{len(retention.delete)} backups are kept by no rule, and one prune deletes at most "
            f"{policy.most_deleted} (retention.most_deleted). Look at the plan; if it is right, raise that number"
        )
        return plan
    try:
        for backup_id in retention.keep:
            live |= objects(by_id[backup_id])
    except ManifestCorrupt as exc:
        plan.withheld = f"what backup {backup_id} needs is not known: {exc.message}"
        plan.delete = [_doomed(by_id[i], why, None) for i, why in retention.delete.items()]
        return plan
    plan.logs = rules.plan(by_id[i] for i in sorted(retention.window))
    live |= plan.logs.live
    dead = _unreferenced(repository, live, plan, archive=not isinstance(rules, NoLogs))
    _refuse_future(((o.path, o.modified) for o in dead.values()), now)
    plan.delete = _with_sizes(objects, retention, by_id, dead)
    _sort_objects(repository, plan, dead, policy, limit)
    plan.leftovers = [o for o in repository.store.leftovers() if o.modified < limit]
    return plan


def _unreferenced(
    repository: Repository, live: set[str], plan: PrunePlan, *, archive: bool
) -> dict[str, ObjectInfo]:
    """Return listed contents and lists that are not in *live*; objects with other names are ignored.

    :param archive: *live* has the parts of the archive, too.
    """
    dead: dict[str, ObjectInfo] = {}
    lacking = set(live)
    for folder in ("chunks/", "bundles/", "lists/", "files/", *([PARTS] if archive else [])):
        for info in repository.store.list(folder):
            if info.path in live:
                lacking.discard(info.path)
            elif is_content_path(info.path) or is_file_list(info.path) or is_part_path(info.path):
                dead[info.path] = info
    plan.missing = _really_missing(repository, lacking)
    return dead


def _really_missing(repository: Repository, lacking: set[str]) -> list[str]:
    """Look up each referenced object that was not listed: either it is missing, or the listing is not complete.

    :returns: the objects that are really missing.
    :raises PruneUnsafe: the listing is not complete.
    """
    if len(lacking) > _MAX_MISSING:
        raise PruneUnsafe(
            f"The listing of {repository.store.url} lacks {len(lacking)} objects that backups need; "
            "nothing was deleted.",
            hint="`restore-replay verify` shows whether they are gone.",
        )

    _refuse_existing(repository, {path: path for path in sorted(lacking)})
    return sorted(lacking)


def _refuse_partial_catalog(repository: Repository, catalog: Catalog) -> None:
    """Raise if a backup that a verdict or a later manifest names exists, but was not listed.

    :raises PruneUnsafe: the listing is not complete.
    """
    named = {m.base.backup_id for m in catalog.manifests}
    named |= {i for v in catalog.verdicts for i in (v.backup_id, v.published_id)}
    listed = {m.backup_id for m in catalog.manifests}
    paths = {manifest_path(i): i for i in sorted(named - listed - {""})}
    _refuse_existing(repository, {p: i for p, i in paths.items() if p not in catalog.unreadable})


def _refuse_existing(repository: Repository, unlisted: Mapping[str, str]) -> None:
    """Raise if an object exists that was not listed.

    :param unlisted: object name → name for messages.
    :raises PruneUnsafe: one of the objects exists.
    """
    for path, size in run_bounded(unlisted, repository.store.size, threads=_LOOKUPS):
        if size is not None:
            raise PruneUnsafe(
                f"The listing of {repository.store.url} is not complete: it lacks {unlisted[path]}, "
                f"but {path} exists. Nothing was deleted.",
                hint="Try again; if it recurs, the store's listings cannot be trusted.",
            )


def _refuse_future(times: Iterable[tuple[str, datetime]], now: datetime) -> None:
    for name, at in times:
        if (at - now).total_seconds() > MAX_SKEW_S:
            raise PruneUnsafe(
                f"{name} is from the future: {at:%Y-%m-%d %H:%M:%SZ}; here it is {now:%Y-%m-%d %H:%M:%SZ}. "
                "Nothing was deleted.",
                hint="Set the clocks of this host, the nodes and the store.",
            )


def _with_sizes(
    objects: ObjectWalk,
    retention: RetentionPlan,
    manifests: Mapping[str, Manifest],
    dead: Mapping[str, ObjectInfo],
) -> list[PlannedDeletion]:
    counted: set[str] = set()
    doomed = []
    for backup_id, why in retention.delete.items():
        manifest = manifests[backup_id]
        try:
            freed = {p for p in objects(manifest) if p in dead} - counted
        except BackupFault:  # damage is no reason to keep it
            doomed.append(_doomed(manifest, why, None))
            continue
        counted |= freed
        doomed.append(_doomed(manifest, why, sum(dead[p].size_bytes for p in freed)))
    return doomed


def _doomed(manifest: Manifest, reason: str, frees_bytes: int | None) -> PlannedDeletion:
    total_bytes = manifest.sizes.total_bytes
    return PlannedDeletion(manifest.backup_id, reason, manifest.created_at, total_bytes, frees_bytes)


def _sort_objects(
    repository: Repository,
    plan: PrunePlan,
    dead: Mapping[str, ObjectInfo],
    policy: Retention,
    limit: datetime,
) -> None:
    """Divide unreferenced objects into those condemned a grace period ago, those condemned since, and new ones."""
    infos = {o.path: o for o in repository.store.list("condemned/")}
    records, _ = repository.records(Condemned)
    condemned: set[str] = set()
    due: set[str] = set()
    for record in records:
        info = infos.get(record_path(Condemned, record.condemned_id))
        condemned.update(record.objects)
        if info is None or info.modified >= limit:
            continue
        left = [path for path in record.objects if path in dead]
        due.update(left)
        # Keep the record for one more grace period: a suspended run may still be about to delete its objects.
        if not left and info.modified < limit - timedelta(seconds=policy.grace):
            plan.spent.append(info)
    plan.sweep = [dead[path] for path in sorted(due)]
    fresh = [info for path, info in dead.items() if path not in condemned]
    plan.condemn = [info for info in fresh if info.modified < limit][:MAX_CONDEMNED]
    plan.young_bytes = sum(info.size_bytes for info in fresh if info.modified >= limit)


def still_unreferenced(
    repository: Repository, plan: PrunePlan, objects: Sequence[ObjectInfo]
) -> tuple[Catalog, list[ObjectInfo]]:
    """Read the catalog again, after manifests were deleted.

    :returns: the catalog, and *objects* without those that an unplanned backup needs: one whose deletion was denied,
        or that a run has published since.
    :raises PruneUnsafe: a backup to be kept is no longer listed.
    """
    catalog = repository.catalog()
    if catalog.unreadable:
        raise PruneUnsafe(
            f"{next(iter(catalog.unreadable.values()))} No stored bytes were deleted.",
            hint="`restore-replay list` shows damaged records.",
        )
    found = {m.backup_id: m for m in catalog.manifests}
    if lost := sorted(plan.keep.keys() - found.keys()):
        raise PruneUnsafe(f"Backup {lost[0]} is no longer listed. No stored bytes were deleted.")
    walk, extra = ObjectWalk(repository), set[str]()
    for backup_id in sorted(found.keys() - plan.keep.keys()):
        extra |= walk(found[backup_id])
    if any(is_part_path(info.path) for info in objects):
        extra |= _parts_in_use(repository)
    return catalog, [info for info in objects if info.path not in extra]


def _parts_in_use(repository: Repository) -> frozenset[str]:
    """Read the archive's records again, and return names of all parts that they need.

    :raises PruneUnsafe: a record is not readable, so that the parts that it needs are not known.
    """
    pieces, unreadable = repository.records(LogPiece)
    if unreadable:
        raise PruneUnsafe(
            f"{next(iter(unreadable.values()))} No stored bytes were deleted.",
            hint="`restore-replay verify` shows damaged records.",
        )
    return parts_of(pieces)


def summary(plan: PrunePlan) -> dict[str, object]:
    """Return a summary of a plan for JSON, with objects counted instead of listed."""
    return {
        "keep": plan.keep,
        "delete": plan.delete,
        "too_many": plan.too_many,
        "doubtful": plan.doubtful,
        "condemn": _amount(plan.condemn),
        "free_now": _amount(plan.sweep),
        "leftovers": _amount(plan.leftovers),
        "too_young_bytes": plan.young_bytes,
        "missing": plan.missing,
        "withheld": plan.withheld,
        "logs": {"keep": plan.logs.kept, "delete": plan.logs.counts},
    }


def _amount(objects: Sequence[ObjectInfo]) -> dict[str, int]:
    return {"objects": len(objects), "bytes": sum(info.size_bytes for info in objects)}
