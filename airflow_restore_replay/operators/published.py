"""The end of a good cycle: the new backup's asset event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from airflow_restore_replay.core.cluster import Cluster
from airflow_restore_replay.core.errors import NoSuchBackup
from airflow_restore_replay.operators.base import ClusterOperator, blame, run_as_of, run_owner

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.repository.catalog import Backup


def backup_asset(cluster: str | Cluster) -> Asset:
    """:returns: the asset that is updated with every published backup of *cluster*; schedule DAGs on it."""
    name = cluster.name if isinstance(cluster, Cluster) else cluster
    return Asset(name=f"restore_replay_{name}", uri=f"restore-replay://{name}/backup", group="restore-replay")


class PublishedOperator(ClusterOperator):
    """Report the backup that this run published, as result and as asset event.

    Every asset in ``outlets`` gets an event with ``backup_id, position, proof, cluster, goal_read_at``, and ``as_of``
    where a backfill rebuilt the backup of a past time.
    """

    ui_color = "#b5dfae"

    def execute(self, context: Context) -> dict[str, Any]:
        with blame():
            backup = self._backup_of(context)
        facts = {
            "backup_id": backup.backup_id,
            "position": backup.manifest.position,
            "proof": backup.proof.value,
            "cluster": backup.manifest.cluster,
            "goal_read_at": backup.manifest.goal_read_at.isoformat(),
        }
        if backup.manifest.as_of:
            facts["as_of"] = backup.manifest.as_of.isoformat()
        for outlet in self.outlets or ():
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(facts)
        self.log.info(
            "Published %s at %s, proof %s.", *(facts[k] for k in ("backup_id", "position", "proof"))
        )
        return facts

    def _backup_of(self, context: Context) -> Backup:
        owner, as_of, catalog = run_owner(context), run_as_of(context), self.repository().catalog()
        if as_of is None:
            published = [b for b in catalog.backups if b.manifest.run == owner and not b.manifest.as_of]
        else:
            # Another run may have made it before: there is one backup of a past time.
            published = [b for b in catalog.healthy() if b.manifest.as_of == as_of]
        if not published:
            raise NoSuchBackup(f"Run {owner} published no backup.", hint="Look at its snapshot task.")
        return max(published, key=lambda b: (b.manifest.created_at, b.backup_id))
