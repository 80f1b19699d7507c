"""A replay node's life: a setup and a teardown task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.decisions.attempts import REPLAY
from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.jobs.protocol import RunRef
from airflow_restore_replay.hooks.replay_node import ReplayNodeHook
from airflow_restore_replay.operators.base import ClusterOperator, blame, earlier_keys, job_key, run_as_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class CreateReplayNodeOperator(ClusterOperator):
    """Create an empty replay node; a setup task. Returns the node for the tasks that fill and use it.

    A retry finds the node again; a cleared task gets a new one. A setup that fails cleans up after itself,
    because its teardown would not run. What crashed runs of the cluster left on the host is removed first.
    The node of a backfill replays only up to the end of the run's interval.

    :param lease: what :class:`AcquireLeaseOperator` returned.
    :param attempt: ``replay`` (from a base) or ``full`` (fresh seed); records name it.
    :param backup_id: the backup that the node will restore; a container's image is chosen and checked by its server.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "lease", "attempt", "backup_id")
    ui_color = "#e3e8ee"

    def __init__(self, *, lease: Any, attempt: str = REPLAY, backup_id: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lease = lease
        self.attempt = attempt
        self.backup_id = backup_id

    def execute(self, context: Context) -> dict[str, Any]:
        with blame():
            run = self._run(context)
            hook = ReplayNodeHook(self.find_cluster())
            node = hook.create(
                run, key=job_key(context), replaces=earlier_keys(context), backup_id=self.backup_id or None
            )
            try:
                context["ti"].xcom_push(key="return_value", value=node)
            except BaseException:
                hook.destroy(node)
                raise
        self.log.info("Replay node %s on host %s, in %s.", node["node_id"], node["host"], node["workdir"])
        return node

    def _run(self, context: Context) -> RunRef:
        if not isinstance(self.lease, dict):
            raise PreflightFailed(
                f"Task {self.task_id} has no lease: {self.lease!r}.",
                hint="Pass the output of an AcquireLeaseOperator as lease.",
            )
        return RunRef(
            run=self.lease["owner"],
            attempt=self.attempt,
            lease_epoch=self.lease["epoch"],
            as_of=run_as_of(context),
        )


class DestroyReplayNodeOperator(ClusterOperator):
    """Stop everything of a replay node and remove it; a teardown task, idempotent.

    :param node: what :class:`CreateReplayNodeOperator` returned.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "node")
    ui_color = "#e3e8ee"

    def __init__(self, *, node: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.node = node

    def execute(self, context: Context) -> None:
        if not self.node:
            self.log.info("There is no replay node to destroy.")
            return
        with blame():
            ReplayNodeHook(self.find_cluster()).destroy(self.node)
        self.log.info("Replay node %s is gone.", self.node["node_id"])
