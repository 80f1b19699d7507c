"""The tasks of one node's life: an attempt to make a backup, and the proof of what was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow.sdk import BaseOperator, TaskGroup, TriggerRule

from airflow_restore_replay.core.decisions.attempts import ATTEMPTS, FULL, PROVE
from airflow_restore_replay.dag.policy import Callback
from airflow_restore_replay.operators import (
    CreateReplayNodeOperator,
    DestroyReplayNodeOperator,
    QuarantineBackupOperator,
    RestoreBackupOperator,
    SeedNodeOperator,
    SnapshotOperator,
    ValidateReplicaOperator,
)
from airflow_restore_replay.operators.result_of import ResultOf
from airflow_restore_replay.sensors import BinlogCatchupSensor


@dataclass(frozen=True)
class Common:
    """Arguments of every task, and of those that wait; who is told.

    :param on_quarantine, on_recovery: callbacks of the tasks that find that out.
    """

    task: dict[str, Any]
    deferrable: dict[str, Any] = field(default_factory=dict)
    on_quarantine: list[Callback] = field(default_factory=list)
    on_recovery: list[Callback] = field(default_factory=list)

    @property
    def waiting(self) -> dict[str, Any]:
        return {**self.task, **self.deferrable}


@dataclass(frozen=True)
class Attempt:
    """The tasks of a node's life that others connect to."""

    create: BaseOperator
    snapshot: BaseOperator
    destroy: BaseOperator
    tasks: tuple[BaseOperator, ...]


def attempt_tasks(common: Common, acquire_id: str, choice_id: str, attempt: str) -> Attempt:
    """Make the task group of one attempt: each has a node of its own, and the fallback never reuses the first's."""
    base = ResultOf(choice_id, "backup_id") if ATTEMPTS[attempt].restores else None
    with TaskGroup(attempt):
        create = CreateReplayNodeOperator(
            task_id="create_node",
            lease=ResultOf(acquire_id),
            attempt=attempt,
            backup_id=base,
            # The fallback also runs when quarantine_backup was skipped.
            trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
            if attempt == FULL
            else TriggerRule.ALL_SUCCESS,
            **common.task,
        )
        waiting = {**common.waiting, "node": ResultOf(create.task_id)}
        fill: BaseOperator
        if base is not None:
            fill = RestoreBackupOperator(task_id="restore_backup", backup_id=base, **waiting)
        else:
            fill = SeedNodeOperator(task_id="seed", **waiting)
        catch_up = BinlogCatchupSensor(task_id="catch_up", **waiting)
        validate = ValidateReplicaOperator(task_id="validate", **waiting)
        snapshot = SnapshotOperator(task_id="snapshot", **waiting)
        destroy = DestroyReplayNodeOperator(
            task_id="destroy_node", node=ResultOf(create.task_id), **common.task
        )
        as_setup(create) >> fill >> catch_up >> validate >> snapshot
        snapshot >> destroy.as_teardown(setups=create)
    return Attempt(create, snapshot, destroy, (create, fill, catch_up, validate, snapshot, destroy))


@dataclass(frozen=True)
class Proof:
    """The tasks of a proof. :param first: makes its node. :param validate: succeeds when the backup is proven."""

    first: BaseOperator
    validate: BaseOperator
    quarantine: BaseOperator
    destroy: BaseOperator
    tasks: tuple[BaseOperator, ...]


def proof_tasks(common: Common, acquire_id: str, published_id: str) -> Proof:
    """Restore what the run has published on a second node; what does not restore is quarantined.

    :param published_id: the task that says which backup it is.
    """
    backup_id = ResultOf(published_id, "backup_id")
    quarantine = QuarantineBackupOperator(
        task_id=f"quarantine_backup_{PROVE}",
        attempt=PROVE,
        on_quarantine=common.on_quarantine,
        trigger_rule=TriggerRule.ONE_FAILED,
        **common.task,
    )
    with TaskGroup(PROVE):
        create = CreateReplayNodeOperator(
            task_id="create_node",
            lease=ResultOf(acquire_id),
            attempt=PROVE,
            backup_id=backup_id,
            **common.task,
        )
        waiting = {**common.waiting, "node": ResultOf(create.task_id), "standalone": True}
        restore = RestoreBackupOperator(task_id="restore_backup", backup_id=backup_id, **waiting)
        validate = ValidateReplicaOperator(task_id="validate", **waiting)
        destroy = DestroyReplayNodeOperator(
            task_id="destroy_node", node=ResultOf(create.task_id), **common.task
        )
        as_setup(create) >> restore >> validate >> destroy.as_teardown(setups=create)
    [restore, validate] >> quarantine
    return Proof(create, validate, quarantine, destroy, (create, restore, validate, destroy, quarantine))


def as_setup(task: BaseOperator) -> BaseOperator:
    task.is_setup = True
    return task


def sibling(task: BaseOperator, name: str) -> str:
    """:returns: the id of the task *name* next to *task*: inside a task group ids carry the group's prefix."""
    return task.task_id.removesuffix(task.label or "") + name
