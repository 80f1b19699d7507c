"""Whether the times in a manifest can be true, by the store's own time of the object, which no writer can set.

Retention counts by times in manifests. A writer who can only create objects must not be able to displace other
backups by them (docs/decisions/0020).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Manifest

MAX_SKEW_S = 300.0
_SKEW = timedelta(seconds=MAX_SKEW_S)
#: a manifest is written when it is made, or soon after by a retry
_SOON = timedelta(hours=1)


def contradictions(catalog: Catalog) -> dict[str, str]:
    """Return backup id → why its manifest cannot be true, for all such manifests."""
    found: dict[str, str] = {}
    for manifest in catalog.manifests:
        stored = _stored(manifest, catalog.stored)
        if manifest.goal_read_at - manifest.created_at > _SKEW:
            found[manifest.backup_id] = (
                f"its goal was read at {_text(manifest.goal_read_at)}, after it was made ({_text(manifest.created_at)})"
            )
        elif manifest.created_at - stored > _SKEW:
            found[manifest.backup_id] = (
                f"it was made at {_text(manifest.created_at)}, after the store got it ({_text(stored)})"
            )
    return found | _twice(catalog, set(found))


def stored_as_made(manifest: Manifest, stored: Mapping[str, datetime]) -> bool:
    """Return whether the store confirms that a usual cycle made the backup when it says.

    A copy to another store is later there, and a backfill's backup is of an earlier time. So both may be true, but a
    writer could make as many as there are days, and they must not displace backups that are confirmed.
    """
    return manifest.as_of is None and _stored(manifest, stored) - manifest.created_at <= _SOON


def _twice(catalog: Catalog, doubtful: set[str]) -> dict[str, str]:
    """Find healthy backups whose run had stored another one before; a run publishes one."""
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    healthy = [b.manifest for b in catalog.healthy() if b.backup_id not in doubtful]
    for manifest in sorted(healthy, key=lambda m: (_stored(m, catalog.stored), m.backup_id)):
        other = first.setdefault(manifest.lease_epoch, manifest.backup_id)
        if other != manifest.backup_id:
            found[manifest.backup_id] = f"its run (epoch {manifest.lease_epoch}) published {other} before"
    return found


def _stored(manifest: Manifest, stored: Mapping[str, datetime]) -> datetime:
    return stored.get(manifest.backup_id, manifest.created_at)


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
