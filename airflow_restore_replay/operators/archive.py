"""Archive the primary's binary logs, for people without a resident archiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.errors import LeaseHeld
from airflow_restore_replay.hooks.replay_node import ReplayNodeHook
from airflow_restore_replay.operators.base import ClusterOperator, fail_or_retry

if TYPE_CHECKING:
    from airflow.sdk import Context


class ArchiveBinlogsOperator(ClusterOperator):
    """Task that archives the primary's binary logs up to its present position.

    It runs on the worker, which needs the flavor's program (``mariadb-binlog`` or ``mysqlbinlog``) and a path to the
    primary. If another archiver of the cluster is at work, for example ``restore-replay archive --follow``, the task
    succeeds without doing anything.

    A gap in the archive does not fail the task. It is a warning in the log and part of the result.
    """

    ui_color = "#dfe7e0"

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_restore_replay.core.archive.archiver import Archiver

        with fail_or_retry():
            hook = ReplayNodeHook(self.find_cluster())
            archiver = Archiver(
                hook.cluster,
                self.repository(write=True),
                hook.secrets().primary_password,
                say=lambda line: self.log.warning("%s", line),
            )
            try:
                report = archiver.run(follow=False)
            except LeaseHeld as exc:
                self.log.info("Nothing to do: %s", exc.message)
                report = archiver.report
        result = {
            "log": report.log,
            "position": report.position,
            "pieces": report.pieces,
            "transactions": report.transactions,
            "bytes": report.size_bytes,
            "current_at": report.current_at.isoformat() if report.current_at else None,
            "gaps": report.gaps,
            "seconds": report.seconds,
        }
        self.log.info("Archived: %s", result)
        return result
