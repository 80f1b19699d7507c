"""Report the new backup at the end of a successful cycle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import NoSuchBackup, RestoreReplayError
from airflow_restore_replay.operators.base import (
    Callback,
    ClusterOperator,
    WithLineage,
    call_all,
    fail_or_retry,
    run_as_of,
    run_owner,
)
from airflow_restore_replay.operators.links import BackupLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.repository.catalog import Backup, Catalog
    from airflow_restore_replay.core.repository.repository import Repository
    from airflow_restore_replay.operators.lineage import Lineage


def backup_asset(cluster: str | Cluster) -> Asset:
    """Return the asset that each published backup of *cluster* updates; schedule DAGs on it."""
    name = cluster.name if isinstance(cluster, Cluster) else cluster
    return Asset(name=f"restore_replay_{name}", uri=f"restore-replay://{name}/backup", group="restore-replay")


class PublishedOperator(WithLineage, ClusterOperator):
    """Task that reports the backup that this run published, as result and as asset event.

    Each asset in ``outlets`` gets an event with ``backup_id, position, proof, cluster, goal_read_at``, and ``as_of``
    if a backfill rebuilt the backup of a past time.

    :param on_recovery: functions or notifiers, called with the context if this is the first backup after a failed run,
        a quarantine or a stranded backup. The context then has ``recovery``.
    :param on_gap: functions or notifiers, called once for each open gap of the archive that was noticed since the
        backup before. The context then has ``gap``.
    """

    ui_color = "#b5dfae"
    operator_extra_links = (BackupLink(),)

    def __init__(
        self,
        *,
        on_recovery: Callback | Sequence[Callback] = (),
        on_gap: Callback | Sequence[Callback] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.on_recovery = on_recovery
        self.on_gap = on_gap

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_or_retry():
            repository = self.repository()
            catalog = repository.catalog()
            backup = self._backup_of(catalog, context)
        self.link(context, backup_id=backup.backup_id)
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
        self._lineage = self._lineage_of(backup)
        self.log.info(
            "Published %s at %s, proof %s.", *(facts[k] for k in ("backup_id", "position", "proof"))
        )
        recovery = self._recovery(context, catalog, backup.backup_id)
        if recovery:
            call_all(self.on_recovery, {**context, "recovery": recovery})
        if self.on_gap and run_as_of(context) is None:
            for gap in self._gaps(repository, catalog, backup):
                call_all(self.on_gap, {**context, "gap": gap})
        return facts

    def _lineage_of(self, backup: Backup) -> Lineage | None:
        """Return that the primary's data went into the backup; None if its address cannot be resolved here."""
        from airflow_restore_replay.hooks.replay_node import ReplayNodeHook
        from airflow_restore_replay.operators.lineage import Lineage

        try:
            lineage = Lineage(ReplayNodeHook(self.find_cluster()).cluster)
        except Exception:
            # The backup is published, whatever becomes of its lineage.
            self.log.warning("The lineage of the backup is not known.", exc_info=True)
            return None
        lineage.read_primary()
        lineage.write_backup(backup.backup_id)
        return lineage

    def _gaps(self, repository: Repository, catalog: Catalog, backup: Backup) -> list[dict[str, str]]:
        """Return the open gaps of the archive that no earlier run can have announced."""
        from airflow_restore_replay.core.archive.archive import Archive
        from airflow_restore_replay.core.flavor.registry import get_flavor

        made = backup.manifest.created_at
        before = max((m.created_at for m in catalog.manifests if m.created_at < made), default=None)
        try:
            open_gaps = Archive.read(repository).gaps_after(catalog, get_flavor(backup.manifest.flavor))
        except RestoreReplayError as exc:
            # The backup is published, whatever is wrong with the archive.
            self.log.warning("The gaps of the archive are not known: %s", exc)
            return []
        return [
            {"backup_id": backup.backup_id, "lacking": gap.lacking, "reason": gap.reason}
            for gap in open_gaps
            if before is None or gap.at > before
        ]

    def _recovery(self, context: Context, catalog: Catalog, backup_id: str) -> dict[str, str] | None:
        """Return the trouble that this backup ends; None if there was none."""
        from airflow_restore_replay.core.decisions.diagnose import recovered_from

        if run_as_of(context) is not None:
            return None
        troubles = recovered_from(catalog, run=run_owner(context))
        if not troubles:
            # A run that failed before it had a node left no record in the repository.
            return _after_failed_run(context, backup_id)
        last = troubles[-1]
        excluded = sorted({v.backup_id for v in troubles if v.backup_id})
        what = f"{last.failure.code}: {last.failure.message}" if last.failure else last.reason
        return {
            "backup_id": backup_id,
            "after": f"{last.outcome} at {last.at:%Y-%m-%d %H:%M} UTC, {what}",
            "todo": f"Find the cause; the evidence: {', '.join(f'`restore-replay show {b}`' for b in excluded)}."
            if excluded
            else "Nothing.",
        }

    def _backup_of(self, catalog: Catalog, context: Context) -> Backup:
        owner, as_of = run_owner(context), run_as_of(context)
        if as_of is None:
            published = [b for b in catalog.backups if b.manifest.run == owner and not b.manifest.as_of]
        else:
            # A past time has only one backup, which another run may have made.
            published = [b for b in catalog.healthy() if b.manifest.as_of == as_of]
        if not published:
            raise NoSuchBackup(f"Run {owner} published no backup.", hint="Look at its snapshot task.")
        return max(published, key=lambda b: (b.manifest.created_at, b.backup_id))


def _after_failed_run(context: Context, backup_id: str) -> dict[str, str] | None:
    ti: Any = context["ti"]
    try:
        before = ti.get_previous_dagrun()
    except Exception:
        # A manual run may have no logical date, and therefore no previous run.
        return None
    if before is None or str(getattr(before.state, "value", before.state)) != "failed":
        return None
    return {"backup_id": backup_id, "after": f"run {before.run_id} failed", "todo": "Nothing."}
