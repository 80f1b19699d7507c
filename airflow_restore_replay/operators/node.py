"""Create and destroy a replay node, in a setup and a teardown task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.decisions.attempts import REPLAY
from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.jobs.protocol import RunRef
from airflow_restore_replay.hooks.replay_node import ReplayNodeHook
from airflow_restore_replay.operators.base import (
    ClusterOperator,
    earlier_keys,
    fail_or_retry,
    job_key,
    run_as_of,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class CreateReplayNodeOperator(ClusterOperator):
    """Setup task that creates an empty replay node. Returns the node for the tasks that fill and use it.

    A retry finds the node again; a cleared task gets a new one. A setup that fails removes its node, because its
    teardown would not run. Orphaned nodes of the cluster are removed first. The node of a backfill replays only up to
    the end of the run's data interval.

    :param lease: the result of an :class:`AcquireLeaseOperator`.
    :param attempt: ``replay`` (from the base), ``older`` (from the next older base), ``full`` (from a fresh seed) or
        ``prove`` (a restore of the run's own backup); records name it.
    :param backup_id: the backup that the node will restore. A container's image is chosen for the server release of
        that backup and checked against it.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "lease", "attempt", "backup_id")
    ui_color = "#e3e8ee"

    def __init__(self, *, lease: Any, attempt: str = REPLAY, backup_id: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lease = lease
        self.attempt = attempt
        self.backup_id = backup_id

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_or_retry():
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
                f"Task {self.task_id} has no lease: `lease` is of the type {type(self.lease).__name__}.",
                hint="Pass the output of an AcquireLeaseOperator as lease.",
            )
        return RunRef(
            run=self.lease["owner"],
            attempt=self.attempt,
            lease_epoch=self.lease["epoch"],
            as_of=run_as_of(context),
        )


class DestroyReplayNodeOperator(ClusterOperator):
    """Teardown task that stops everything on a replay node and removes it; idempotent.

    :param node: the result of a :class:`CreateReplayNodeOperator`.
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
        with fail_or_retry():
            ReplayNodeHook(self.find_cluster()).destroy(self.node)
        self.log.info("Replay node %s is removed.", self.node["node_id"])
