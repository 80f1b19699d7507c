"""Rules from a cluster's history for its next cycle: refuse to run during a hold, and when a fresh full is due."""

from __future__ import annotations

from datetime import datetime

from airflow_restore_replay.core.config.sections import FullEvery
from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.errors import Blame, Held
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Manifest, Outcome, Verdict

#: the primary lost data, whichever step found it
_LOST = ("SourceShrank",)
#: the primary's own data is corrupt; if only its binary log is, a fresh full does not need that
_CORRUPT = ("SourceCorrupt", "TableCheckFailed")
_READ_DATA = ("seed", "validate", "snapshot")


def holds(failure: Failure, step: str) -> bool:
    """Return whether *failure* of the job *step* puts the cluster on hold until a person has examined the primary."""
    if failure.blame is not Blame.SOURCE:
        return False
    return failure.code in _LOST or (failure.code in _CORRUPT and step in _READ_DATA)


def refuse_held(catalog: Catalog) -> None:
    """Raise if the cluster is on hold.

    :raises Held: a hold was recorded and not released.
    """
    if not catalog.held_by:
        return
    hold = catalog.held_by[0]
    why = hold.failure.message if hold.failure else hold.reason
    raise Held(
        f"Cluster {catalog.cluster} is on hold since {hold.at:%Y-%m-%dT%H:%M:%SZ} by verdict {hold.verdict_id}: {why}",
        hint=f"Repair the primary, then `restore-replay release --hold {hold.verdict_id} --reason …`; until then "
        "nothing is published, and the healthy backups are kept.",
        evidence={"hold": hold.verdict_id},
    )


def released(catalog: Catalog, code: str, since: datetime | None) -> list[Verdict]:
    """Return holds for the error *code* that were recorded after *since* and have been released."""
    standing = {hold.verdict_id for hold in catalog.held_by}
    return [
        v
        for v in catalog.verdicts
        if v.outcome is Outcome.HELD
        and v.verdict_id not in standing
        and v.failure is not None
        and v.failure.code == code
        and (since is None or v.at > since)
    ]


def full_due(catalog: Catalog, base: Manifest, policy: FullEvery, now: datetime) -> str:
    """Return why a fresh full must replace *base*, or ``""`` if none is due.

    :param base: the backup that the cycle would otherwise replay from.
    """
    depth = base.lineage_depth + 1
    if policy.generations is not None and depth > policy.generations:
        return f"a fresh full is due: {depth - 1} backups were made since the last (full_every.generations)"
    age_s = (now - _lineage_since(catalog, base)).total_seconds()
    if policy.age is not None and age_s >= policy.age:
        return f"a fresh full is due: the last is {human_seconds(age_s)} old (full_every.age)"
    return ""


def _lineage_since(catalog: Catalog, base: Manifest) -> datetime:
    """Return when the goal of the fresh full of *base*'s lineage was read, as far as manifests go back."""
    manifests = {m.backup_id: m for m in catalog.manifests}
    oldest = base
    while oldest.lineage_since is None and oldest.base.kind == "backup":
        if oldest.base.backup_id not in manifests:
            break
        oldest = manifests[oldest.base.backup_id]
    return oldest.lineage_since or oldest.goal_read_at
