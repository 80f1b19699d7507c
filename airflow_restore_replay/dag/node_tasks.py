"""The tasks of one node: of an attempt to make a backup, or of the proof of the backup it made."""

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
    """Arguments and callbacks that tasks share.

    :param task: arguments of every task.
    :param deferrable: further arguments of the tasks that wait.
    :param on_quarantine, on_recovery, on_gap: callbacks of the tasks that detect a quarantine, a recovery or a gap.
    """

    task: dict[str, Any]
    deferrable: dict[str, Any] = field(default_factory=dict)
    on_quarantine: list[Callback] = field(default_factory=list)
    on_recovery: list[Callback] = field(default_factory=list)
    on_gap: list[Callback] = field(default_factory=list)

    @property
    def waiting(self) -> dict[str, Any]:
        return {**self.task, **self.deferrable}


@dataclass(frozen=True)
class Attempt:
    """Tasks of an attempt that others connect to, and all of them."""

    create: BaseOperator
    snapshot: BaseOperator
    destroy: BaseOperator
    tasks: tuple[BaseOperator, ...]


def attempt_tasks(common: Common, acquire_id: str, choice_id: str, attempt: str) -> Attempt:
    """Make the task group of one attempt.

    Each attempt has a node of its own. A fallback never reuses the node of the first attempt.
    """
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
    """Tasks of a proof.

    :param first: creates its node.
    :param validate: succeeds when the backup is proven.
    """

    first: BaseOperator
    validate: BaseOperator
    quarantine: BaseOperator
    destroy: BaseOperator
    tasks: tuple[BaseOperator, ...]


def proof_tasks(common: Common, acquire_id: str, published_id: str) -> Proof:
    """Make the tasks that restore the run's published backup on a second node, and quarantine it if it is damaged.

    :param published_id: id of the task whose result names the backup.
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
    """Return the id of the task *name* beside *task*: inside a task group, ids have the group's prefix."""
    return task.task_id.removesuffix(task.label or "") + name
