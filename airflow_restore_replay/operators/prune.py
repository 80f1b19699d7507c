"""Retention: delete what the cluster's policy lets go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.operators.base import ClusterOperator, blame

if TYPE_CHECKING:
    from airflow.sdk import Context


class PruneOperator(ClusterOperator):
    """Delete the backups that retention lets go, and stored bytes that nothing has led to for the grace period.

    What the store refuses to delete (locked, or no right to), and why nothing could be deleted, is a warning
    in the log and in the result; it does not fail the task.

    :param lease: what :class:`AcquireLeaseOperator` returned; the run must still hold it.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "lease")
    ui_color = "#e6e0d4"

    def __init__(self, *, lease: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lease = lease

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_restore_replay.core.repository.pruning.prune import prune

        with blame():
            if not isinstance(self.lease, dict):
                raise PreflightFailed(
                    f"Task {self.task_id} has no lease: {self.lease!r}.",
                    hint="Pass the output of an AcquireLeaseOperator as lease.",
                )
            cluster = self.find_cluster()
            report = prune(
                self.repository(write=True),
                cluster.retention,
                run=self.lease["owner"],
                epoch=self.lease["epoch"],
                timezone=cluster.timezone,
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
        }
        self.log.info("Pruned: %s", result)
        return result
