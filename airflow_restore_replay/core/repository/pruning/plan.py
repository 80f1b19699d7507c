"""What pruning would do: a plan from listings and file lists; nothing is changed here.

Deleting takes three steps, so that no process that sleeps can harm another:

1. Manifests that retention lets go are deleted; a record says so first.
2. Objects that no manifest leads to are *condemned* by a record. From then on no writer refers to them.
3. What was condemned a grace period ago, and is still not referred to, is deleted.

A run that lost its lease unnoticed may still publish, but only what it stored or read before; within the grace period
its manifest is seen in time. A run that sleeps while it deletes wakes up to delete only what nobody may use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow_restore_replay.core.config.sections import Retention
from airflow_restore_replay.core.errors import BackupFault, ManifestCorrupt, PruneUnsafe
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Condemned, Manifest
from airflow_restore_replay.core.repository.format.refs import is_content_path
from airflow_restore_replay.core.repository.objects.record_store import manifest_path, record_path
from airflow_restore_replay.core.repository.parallel import run_bounded
from airflow_restore_replay.core.repository.pruning.retention import RetentionPlan, plan_retention
from airflow_restore_replay.core.repository.reachability import ObjectWalk, is_file_list
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo

MAX_SKEW_S = 300.0
#: one record of condemned objects stays far below what a reader takes; the rest follows next time
MAX_CONDEMNED = 400_000
#: more referenced objects missing from a listing than this are a bad listing, not damage
_MAX_MISSING = 1000
_LOOKUPS = 8


@dataclass(frozen=True)
class PlannedDeletion:
    """A backup that goes. :param frees_bytes: stored bytes that only it, and those before it in the plan, lead to."""

    backup_id: str
    reason: str
    created_at: datetime
    total_bytes: int
    frees_bytes: int | None


@dataclass
class PrunePlan:
    """:param keep: backup id → reasons. :param delete: backups that go, oldest first.
    :param condemn: objects that nothing leads to, once *delete* is done; they go after the grace period.
    :param sweep: objects that were condemned long enough ago.
    :param spent: records of condemned objects of which none is left.
    :param leftovers: of interrupted writes.
    :param young_bytes: unreferenced, but of an age at which they may belong to a run.
    :param missing: names of objects that backups need and that are gone: damage, for ``verify``.
    :param withheld: why nothing, or no stored bytes, can be deleted; empty when all is well.
    """

    cluster: str
    keep: dict[str, list[str]] = field(default_factory=dict)
    delete: list[PlannedDeletion] = field(default_factory=list)
    condemn: list[ObjectInfo] = field(default_factory=list)
    sweep: list[ObjectInfo] = field(default_factory=list)
    spent: list[ObjectInfo] = field(default_factory=list)
    leftovers: list[ObjectInfo] = field(default_factory=list)
    young_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    withheld: str = ""


def plan_prune(repository: Repository, policy: Retention, *, timezone: str, now: datetime) -> PrunePlan:
    """Look at everything and plan; deletes nothing.

    :raises PruneUnsafe: the clocks disagree, or a listing lacks what is there.
    """
    catalog = repository.catalog()
    _refuse_partial_catalog(repository, catalog)
    _refuse_future(((m.backup_id, m.created_at) for m in catalog.manifests), now)
    retention = plan_retention(catalog, policy, now=now, timezone=timezone)
    plan = PrunePlan(repository.cluster, keep=retention.keep)
    by_id = {m.backup_id: m for m in catalog.manifests}
    objects = ObjectWalk(repository)
    live: set[str] = set()
    if catalog.unreadable:
        path, why = next(iter(catalog.unreadable.items()))
        plan.withheld = f"{len(catalog.unreadable)} records are not readable, first {path}: {why}"
        return plan
    try:
        for backup_id in retention.keep:
            live |= objects(by_id[backup_id])
    except ManifestCorrupt as exc:
        plan.withheld = f"what backup {backup_id} needs is not known: {exc.message}"
        plan.delete = [_doomed(by_id[i], why, None) for i, why in retention.delete.items()]
        return plan
    limit = now - timedelta(seconds=policy.grace)
    dead = _unreferenced(repository, live, plan)
    _refuse_future(((o.path, o.modified) for o in dead.values()), now)
    plan.delete = _with_sizes(objects, retention, by_id, dead)
    _sort_objects(repository, plan, dead, policy, limit)
    plan.leftovers = [o for o in repository.store.leftovers() if o.modified < limit]
    return plan


def _unreferenced(repository: Repository, live: set[str], plan: PrunePlan) -> dict[str, ObjectInfo]:
    """:returns: listed contents and lists that *live* does not hold; names that are not ours are left alone."""
    dead: dict[str, ObjectInfo] = {}
    lacking = set(live)
    for folder in ("chunks/", "bundles/", "lists/", "files/"):
        for info in repository.store.list(folder):
            if info.path in live:
                lacking.discard(info.path)
            elif is_content_path(info.path) or is_file_list(info.path):
                dead[info.path] = info
    plan.missing = _really_missing(repository, lacking)
    return dead


def _really_missing(repository: Repository, lacking: set[str]) -> list[str]:
    """What is referenced and not listed is damage, or the listing is not complete: ask for each by its name."""
    if len(lacking) > _MAX_MISSING:
        raise PruneUnsafe(
            f"The listing of {repository.store.url} lacks {len(lacking)} objects that backups need; "
            "nothing was deleted.",
            hint="`restore-replay verify` tells whether they are gone.",
        )

    _refuse_existing(repository, {path: path for path in sorted(lacking)})
    return sorted(lacking)


def _refuse_partial_catalog(repository: Repository, catalog: Catalog) -> None:
    """Backups that a verdict or a successor names, but that were not listed, must really be gone."""
    named = {m.base.backup_id for m in catalog.manifests}
    named |= {i for v in catalog.verdicts for i in (v.backup_id, v.published_id)}
    listed = {m.backup_id for m in catalog.manifests}
    paths = {manifest_path(i): i for i in sorted(named - listed - {""})}
    _refuse_existing(repository, {p: i for p, i in paths.items() if p not in catalog.unreadable})


def _refuse_existing(repository: Repository, unlisted: Mapping[str, str]) -> None:
    """:param unlisted: object name → what it is called in messages.

    :raises PruneUnsafe: one of them is there all the same.
    """
    for path, size in run_bounded(unlisted, repository.store.size, threads=_LOOKUPS):
        if size is not None:
            raise PruneUnsafe(
                f"The listing of {repository.store.url} is not complete: it lacks {unlisted[path]}, "
                f"and {path} is there. Nothing was deleted.",
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
        except BackupFault:  # damaged, which is no reason to keep it
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
    """Tell apart what was condemned long ago, what was condemned lately, and what may be condemned now."""
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
        # Kept for one more grace period: a sleeper may still be about to delete what it names.
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

    :returns: the catalog, and those of *objects* that no backup leads to that the plan did not count on: one whose
        deletion was denied, or that a run published meanwhile.
    :raises PruneUnsafe: a backup to be kept is not listed any more.
    """
    catalog = repository.catalog()
    if catalog.unreadable:
        raise PruneUnsafe(
            f"{next(iter(catalog.unreadable.values()))} No stored bytes were deleted.",
            hint="`restore-replay list` shows damaged records.",
        )
    found = {m.backup_id: m for m in catalog.manifests}
    if lost := sorted(plan.keep.keys() - found.keys()):
        raise PruneUnsafe(f"Backup {lost[0]} is not listed any more. No stored bytes were deleted.")
    walk, extra = ObjectWalk(repository), set[str]()
    for backup_id in sorted(found.keys() - plan.keep.keys()):
        extra |= walk(found[backup_id])
    return catalog, [info for info in objects if info.path not in extra]
