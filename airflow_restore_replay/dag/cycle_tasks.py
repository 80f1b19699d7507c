"""The tasks of one cycle and their order, within a DAG or as a task group between tasks of your own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from airflow.sdk import BaseOperator, TaskGroup, TriggerRule

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decisions.attempts import FULL, OLDER, REPLAY, next_step
from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.dag.node_tasks import (
    Attempt,
    Common,
    as_setup,
    attempt_tasks,
    proof_tasks,
    sibling,
)
from airflow_restore_replay.dag.policy import Callback, add_failure_callbacks, listed, timeout_of
from airflow_restore_replay.notifications import cluster_announcers
from airflow_restore_replay.notifications.announcer import callbacks_for
from airflow_restore_replay.notifications.message_texts import GAP, QUARANTINE, RECOVERY, TASK_FAILURE
from airflow_restore_replay.operators import (
    AcquireLeaseOperator,
    ChooseBaseOperator,
    DiagnoseCycleOperator,
    PruneOperator,
    PublishedOperator,
    QuarantineBackupOperator,
    ReleaseLeaseOperator,
    backup_asset,
)
from airflow_restore_replay.operators.result_of import ResultOf


@dataclass(frozen=True)
class Cycle:
    """The tasks of one cycle that other tasks may be attached to.

    :param first: runs before everything else.
    :param published: succeeds when a backup was published and is proven as far as the cluster requires.
    :param tasks: all tasks of the cycle.
    """

    first: BaseOperator
    published: BaseOperator
    tasks: tuple[BaseOperator, ...]


def restore_replay_task_group(
    cluster: Cluster,
    *,
    group_id: str | None = None,
    deferrable: bool | None = None,
    on_quarantine: Callback | Sequence[Callback] = (),
    notifiers: Sequence[Callback] = (),
    force_full: bool | str = "{{ params.get('force_full', False) }}",
    base_backup_id: str | None = "{{ params.get('base_backup_id') or '' }}",
) -> Cycle:
    """Add the tasks of one cycle to the current DAG.

    Do not call this inside a mapped task group: Airflow does not skip branches there.

    :param group_id: put the tasks into a task group of that name, for a DAG of your own.
    :param deferrable: whether waiting tasks defer; Airflow's ``operators.default_deferrable`` unless given.
    :param on_quarantine: functions or notifiers, called with the context when a backup was quarantined.
    :param notifiers: called on failed tasks, quarantines, recoveries and gaps, in addition to those of the cluster
        file's ``notify``. Only the DAG can report a failed run: give it the same as ``on_failure_callback``.
    :returns: the tasks to attach further tasks to.
    """
    announcers = cluster_announcers(cluster, notifiers)
    common = Common(
        {"cluster": cluster},
        {} if deferrable is None else {"deferrable": deferrable},
        [*listed(on_quarantine), *callbacks_for(announcers, QUARANTINE)],
        [*callbacks_for(announcers, RECOVERY)],
        [*callbacks_for(announcers, GAP)],
    )
    with TaskGroup(group_id) if group_id else nullcontext():
        cycle = _cycle(common, cluster, force_full, base_backup_id)
    for task in cycle.tasks:
        task.execution_timeout = task.execution_timeout or timeout_of(cluster, task)
        add_failure_callbacks(task, callbacks_for(announcers, TASK_FAILURE))
    return cycle


def _cycle(
    common: Common,
    cluster: Cluster,
    force_full: bool | str,
    base_backup_id: str | None,
) -> Cycle:
    acquire = AcquireLeaseOperator(task_id="acquire_lease", **common.waiting)
    choice_id = sibling(acquire, "choose_base")
    replay = attempt_tasks(common, acquire.task_id, choice_id, REPLAY)
    full = attempt_tasks(common, acquire.task_id, choice_id, FULL)
    proves = cluster.prove == "restored"
    published = _published(common, cluster, "published", reports=not proves)
    after, older = (full.create, None)
    if next_step(REPLAY, Blame.STRANDED, fallback=cluster.fallback).attempt == OLDER:
        older = _older(common, acquire.task_id, published, full)
        after = older.first
    quarantine, diagnose = _decision(common, choice_id, published, full, after, REPLAY)
    choose = ChooseBaseOperator(
        task_id="choose_base",
        replay_task_id=replay.create.task_id,
        no_base_task_id=diagnose.task_id,
        force_full=force_full,
        base_backup_id=base_backup_id,
        **common.task,
    )
    # prune is the only leaf beside teardowns, so it decides the run's state. A failed run prunes nothing.
    prune = PruneOperator(task_id="prune", lease=ResultOf(acquire.task_id), **common.task)
    release = ReleaseLeaseOperator(task_id="release_lease", lease=ResultOf(acquire.task_id), **common.task)

    as_setup(acquire) >> choose >> [replay.create, diagnose]
    replay.snapshot >> diagnose
    full.snapshot >> published
    [prune, replay.destroy, full.destroy] >> release.as_teardown(setups=acquire)
    tasks = (acquire, choose, diagnose, quarantine, published, prune, release, *replay.tasks, *full.tasks)
    if older:
        older.destroy >> release
        tasks = (*tasks, *older.tasks)
    last = published
    if proves:
        proof = proof_tasks(common, acquire.task_id, published.task_id)
        last = _published(common, cluster, "proven", reports=True)
        published >> proof.first
        proof.validate >> last
        [proof.quarantine, proof.destroy] >> release
        tasks = (*tasks, last, *proof.tasks)
    last >> prune
    return Cycle(acquire, last, tasks)


def _published(common: Common, cluster: Cluster, name: str, *, reports: bool) -> BaseOperator:
    """Make the task that reports the published backup.

    :param reports: whether the backup is proven as far as required. Only then does the task update the asset and
        announce a recovery or a gap.
    """
    return PublishedOperator(
        task_id=name,
        outlets=[backup_asset(cluster)] if reports else [],
        on_recovery=common.on_recovery if reports else [],
        on_gap=common.on_gap if reports else [],
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        **common.task,
    )


def _decision(
    common: Common,
    choice_id: str,
    published: BaseOperator,
    full: Attempt,
    after: BaseOperator,
    attempt: str,
) -> tuple[BaseOperator, BaseOperator]:
    """Make the tasks that quarantine and diagnose after *attempt*.

    :param after: task that follows if the base cannot be used.
    :returns: the tasks ``quarantine_backup`` and ``diagnose``.
    """
    suffix = "" if attempt == REPLAY else f"_{attempt}"
    quarantine = QuarantineBackupOperator(
        task_id=f"quarantine_backup{suffix}", on_quarantine=common.on_quarantine, **common.task
    )
    diagnose = DiagnoseCycleOperator(
        task_id=f"diagnose{suffix}",
        choice=ResultOf(choice_id),
        attempt=attempt,
        published_task_id=published.task_id,
        quarantine_task_id=quarantine.task_id,
        full_task_id=full.create.task_id,
        fallback_task_id=after.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        **common.task,
    )
    diagnose >> [published, quarantine, full.create]
    if after is not full.create:
        diagnose >> after
    quarantine >> after
    return quarantine, diagnose


@dataclass(frozen=True)
class _Older:
    """Tasks of the attempt from the next older healthy base.

    :param first: chooses that base.
    """

    first: BaseOperator
    destroy: BaseOperator
    tasks: tuple[BaseOperator, ...]


def _older(common: Common, acquire_id: str, published: BaseOperator, full: Attempt) -> _Older:
    """Make the attempt between replay and fresh full that ``fallback: older_base`` requires."""
    choice_id = sibling(published, "choose_older")
    attempt = attempt_tasks(common, acquire_id, choice_id, OLDER)
    quarantine, diagnose = _decision(common, choice_id, published, full, full.create, OLDER)
    choose = ChooseBaseOperator(
        task_id="choose_older",
        replay_task_id=attempt.create.task_id,
        no_base_task_id=diagnose.task_id,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        **common.task,
    )
    choose >> [attempt.create, diagnose]
    attempt.snapshot >> diagnose
    return _Older(choose, attempt.destroy, (choose, diagnose, quarantine, *attempt.tasks))
