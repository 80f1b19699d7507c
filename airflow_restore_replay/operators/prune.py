"""Delete the backups that the cluster's retention no longer keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.operators.base import ClusterOperator, fail_or_retry

if TYPE_CHECKING:
    from airflow.sdk import Context


class PruneOperator(ClusterOperator):
    """Task that deletes backups that retention no longer keeps, and stored bytes unreferenced for the grace period.

    If the store refuses a deletion (object locked, or no right), or nothing could be deleted, the task does not fail.
    The reason is a warning in the log and part of the result.

    :param lease: the result of an :class:`AcquireLeaseOperator`; the run must still hold the lease.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "lease")
    ui_color = "#e6e0d4"

    def __init__(self, *, lease: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lease = lease

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_restore_replay.core.archive.retention import log_rules
        from airflow_restore_replay.core.repository.pruning.prune import prune

        with fail_or_retry():
            if not isinstance(self.lease, dict):
                raise PreflightFailed(
                    f"Task {self.task_id} has no lease: `lease` is of the type {type(self.lease).__name__}.",
                    hint="Pass the output of an AcquireLeaseOperator as lease.",
                )
            cluster = self.find_cluster()
            report = prune(
                self.repository(write=True),
                cluster.retention,
                run=self.lease["owner"],
                epoch=self.lease["epoch"],
                timezone=cluster.timezone,
                logs=log_rules(cluster),
            )
        if report.complaint:
            self.log.warning("%s", report.complaint)
        result = {
            "deleted": report.deleted,
            "kept": report.kept,
            "freed_bytes": report.freed_bytes,
            "condemned_bytes": report.condemned_bytes,
            "denied": report.denied_count,
            "withheld": report.withheld,
            "logs": {"kept": report.kept_logs, "deleted": report.deleted_logs},
        }
        self.log.info("Pruned: %s", result)
        return result
