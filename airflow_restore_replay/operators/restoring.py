"""Base of the tasks that restore: in the worker's process, or by a job on a node of their own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.errors import NodeUnreachable, RestoreReplayError
from airflow_restore_replay.hooks.replay_node import ReplayNodeHook
from airflow_restore_replay.operators.base import ClusterOperator, NodeJobOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.jobs.context import Reporter
    from airflow_restore_replay.core.repository.catalog import Backup


class RestoringOperator(NodeJobOperator):
    """Base of the tasks that restore: in the worker's process, or by a job on a node of their own.

    :param on_node: restore where the cluster's nodes live; by default if that is not the worker's own host. Otherwise
        the worker's host needs the server's programs.
    """

    owns_node = True
    template_fields: Sequence[str] = ClusterOperator.template_fields

    def __init__(self, *, on_node: bool | None = None, **kwargs: Any) -> None:
        super().__init__(node=None, **kwargs)
        self.on_node = on_node
        self._stopped = threading.Event()

    def on_kill(self) -> None:
        """Let the restore end its servers; what is restored so far stays for a retry."""
        self._stopped.set()
        super().on_kill()

    def runs_on_node(self) -> bool:
        """Return whether the restore is a job on a node."""
        if self.on_node is not None:
            return self.on_node
        return self.find_cluster().node.runtime != "process"

    def node_backup(self) -> Backup:
        """Return the backup by whose release the node is chosen."""
        from airflow_restore_replay.core.recovery.restore import choose_backup

        return choose_backup(self.repository().catalog(), None)

    def node_volume(self) -> str:
        """Return the Docker volume that the node needs; empty if none."""
        return ""

    def _require_node(self) -> None:
        """Do nothing: the task makes its node."""

    def _watch(self, context: Context) -> tuple[ReplayNodeHook, str]:
        hook, key = super()._watch(context)
        if self.node is None:
            release = self.node_backup().manifest.server_release
            self.node = hook.create_for_recovery(key, release=release, volume=self.node_volume())
        return hook, key

    def _finish(self, context: Context, hook: ReplayNodeHook, key: str) -> dict[str, Any]:
        try:
            result = super()._finish(context, hook, key)
        except NodeUnreachable:
            raise
        except RestoreReplayError:
            hook.end_recovery(self.node, key)
            raise
        hook.end_recovery(self.node, key)
        return result

    def _cancel(self, hook: ReplayNodeHook, key: str) -> None:
        self.log.warning("Cancelling job %s of node %s.", self.job, self.node["node_id"])
        hook.end_recovery(self.node, key)

    def _report(self) -> Reporter:
        from airflow_restore_replay.core.jobs.context import Reporter
        from airflow_restore_replay.core.jobs.protocol import describe_progress

        return Reporter(lambda progress: self.log.info("%s", describe_progress(progress)), interval_s=15.0)
