"""The cycle as a DAG: which tasks there are, and in what order. All work is the operators'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator, Param, TaskGroup, TriggerRule

from airflow_restore_replay.compat import CronDataIntervalTimetable
from airflow_restore_replay.core.cluster import Cluster
from airflow_restore_replay.core.jobs.protocol import FULL, REPLAY
from airflow_restore_replay.hooks.clusters import configured_clusters
from airflow_restore_replay.operators import (
    AcquireLeaseOperator,
    ChooseBaseOperator,
    CreateReplayNodeOperator,
    DestroyReplayNodeOperator,
    DiagnoseCycleOperator,
    PublishedOperator,
    QuarantineBackupOperator,
    ReleaseLeaseOperator,
    RestoreBackupOperator,
    SeedNodeOperator,
    SnapshotOperator,
    ValidateReplicaOperator,
    backup_asset,
)
from airflow_restore_replay.operators.result_of import ResultOf
from airflow_restore_replay.sensors import BinlogCatchupSensor

Callback = Callable[[Any], Any]
Callbacks = Callback | list[Callback] | None

DOC = """\
### Backups of `{cluster}` that are produced by being restored

```
choose_base ──▶ replay: create_node ▶ restore_backup ▶ catch_up ▶ validate ▶ snapshot
     │ no base                                                               │
     ▼                                                                       ▼
  diagnose ◀──────────────────────────────────────────────────────────────────
     │ ok ─────────────────────────────────────────────────────────▶ published
     │ evidence against the base ▶ quarantine_backup ▶ full          ▲
     │ no base, base stranded ───────────────────────▶ full ─────────┘
     │ anything else: the run fails here, and nothing is quarantined
     full: create_node ▶ seed ▶ catch_up ▶ validate ▶ snapshot
```

`acquire_lease` and `release_lease` enclose everything: one run of a cluster at a time. Both nodes are always
destroyed. Parameters: `force_full` takes a fresh full copy; `base_backup_id` names the backup to replay from.

A backfill rebuilds the backup *as of* the end of each interval, from the newest base before it and the primary's
binary logs since. It fails where either is missing; it never takes a fresh full.
"""


@dataclass(frozen=True)
class Cycle:
    """The tasks of one cycle that other tasks may be attached to.

    :param first: runs before everything else. :param published: succeeds when a backup was published.
    """

    first: BaseOperator
    published: BaseOperator


@dataclass(frozen=True)
class _Common:
    """Arguments of every task, and of those that wait."""

    task: dict[str, Any]
    deferrable: dict[str, Any] = field(default_factory=dict)

    @property
    def waiting(self) -> dict[str, Any]:
        return {**self.task, **self.deferrable}


def restore_replay_task_group(
    cluster: Cluster,
    *,
    group_id: str | None = None,
    deferrable: bool | None = None,
    on_quarantine: Callback | Sequence[Callback] = (),
    force_full: bool | str = "{{ params.get('force_full', False) }}",
    base_backup_id: str | None = "{{ params.get('base_backup_id') or '' }}",
) -> Cycle:
    """Add the tasks of one cycle to the current DAG.

    :param group_id: put them into a task group of that name, for a DAG of your own.
    :param deferrable: whether waiting tasks defer; Airflow's ``operators.default_deferrable`` unless given.
    :param on_quarantine: called with the context when a backup was quarantined: functions or notifiers.
    :returns: where to attach further tasks.
    """
    common = _Common({"cluster": cluster}, {} if deferrable is None else {"deferrable": deferrable})
    if group_id is None:
        return _cycle(common, cluster, on_quarantine, force_full, base_backup_id)
    with TaskGroup(group_id):
        return _cycle(common, cluster, on_quarantine, force_full, base_backup_id)


def _cycle(
    common: _Common,
    cluster: Cluster,
    on_quarantine: Callback | Sequence[Callback],
    force_full: bool | str,
    base_backup_id: str | None,
) -> Cycle:
    acquire = AcquireLeaseOperator(task_id="acquire_lease", **common.waiting)
    choice_id = _sibling(acquire, "choose_base")
    replay = _attempt(common, acquire.task_id, choice_id, REPLAY)
    full = _attempt(common, acquire.task_id, choice_id, FULL)
    published = PublishedOperator(
        task_id="published",
        outlets=[backup_asset(cluster)],
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        **common.task,
    )
    quarantine = QuarantineBackupOperator(
        task_id="quarantine_backup", on_quarantine=on_quarantine, **common.task
    )
    diagnose = DiagnoseCycleOperator(
        task_id="diagnose",
        choice=ResultOf(choice_id),
        node=ResultOf(replay.create.task_id),
        published_task_id=published.task_id,
        quarantine_task_id=quarantine.task_id,
        full_task_id=full.create.task_id,
        trigger_rule=TriggerRule.ALL_DONE,
        **common.task,
    )
    choose = ChooseBaseOperator(
        task_id="choose_base",
        replay_task_id=replay.create.task_id,
        no_base_task_id=diagnose.task_id,
        force_full=force_full,
        base_backup_id=base_backup_id,
        **common.task,
    )
    release = ReleaseLeaseOperator(task_id="release_lease", lease=ResultOf(acquire.task_id), **common.task)

    _setup(acquire) >> choose >> [replay.create, diagnose]
    replay.snapshot >> diagnose >> [published, quarantine, full.create]
    quarantine >> full.create
    full.snapshot >> published
    [published, replay.destroy, full.destroy] >> release.as_teardown(setups=acquire)
    return Cycle(acquire, published)


@dataclass(frozen=True)
class _Attempt:
    """The tasks of a node's life that others connect to."""

    create: BaseOperator
    snapshot: BaseOperator
    destroy: BaseOperator


def _attempt(common: _Common, acquire_id: str, choice_id: str, attempt: str) -> _Attempt:
    """Make the task group of one attempt: each has a node of its own, and the fallback never reuses the first's."""
    with TaskGroup(attempt):
        create = CreateReplayNodeOperator(
            task_id="create_node",
            lease=ResultOf(acquire_id),
            attempt=attempt,
            # The fallback also runs when quarantine_backup was skipped.
            trigger_rule=TriggerRule.ALL_SUCCESS
            if attempt == REPLAY
            else TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
            **common.task,
        )
        waiting = {**common.waiting, "node": ResultOf(create.task_id)}
        fill: BaseOperator
        if attempt == REPLAY:
            fill = RestoreBackupOperator(
                task_id="restore_backup", backup_id=ResultOf(choice_id, "backup_id"), **waiting
            )
        else:
            fill = SeedNodeOperator(task_id="seed", **waiting)
        catch_up = BinlogCatchupSensor(task_id="catch_up", **waiting)
        validate = ValidateReplicaOperator(task_id="validate", **waiting)
        snapshot = SnapshotOperator(task_id="snapshot", **waiting)
        destroy = DestroyReplayNodeOperator(
            task_id="destroy_node", node=ResultOf(create.task_id), **common.task
        )
        _setup(create) >> fill >> catch_up >> validate >> snapshot
        snapshot >> destroy.as_teardown(setups=create)
    return _Attempt(create, snapshot, destroy)


def _setup(task: BaseOperator) -> BaseOperator:
    task.is_setup = True
    return task


def build_restore_replay_dag(
    cluster: Cluster,
    *,
    dag_id: str | None = None,
    deferrable: bool | None = None,
    on_failure_callback: Callbacks = None,
    on_run_failure_callback: Callbacks = None,
    on_run_success_callback: Callbacks = None,
    on_quarantine: Callback | Sequence[Callback] = (),
    default_args: dict[str, Any] | None = None,
    tags: Sequence[str] = ("restore-replay",),
) -> DAG:
    """Build the DAG of one cluster.

    There is no run timeout (it would skip the teardowns) and no pool (the lease excludes other runs).

    :param dag_id: ``restore_replay_<cluster>`` unless given.
    :param deferrable: whether waiting tasks defer; Airflow's ``operators.default_deferrable`` unless given.
    :param on_failure_callback: for every task, after its last retry: functions or notifiers.
    :param on_run_failure_callback, on_run_success_callback: for the run as a whole.
    :param on_quarantine: called with the context when a backup was quarantined: functions or notifiers.
    :param default_args: added to, and winning over, the defaults: two retries with a short growing delay.
    """
    with DAG(
        dag_id or f"restore_replay_{cluster.name}",
        description=f"Backups of {cluster.name} that are produced by being restored",
        doc_md=DOC.format(cluster=cluster.name),
        schedule=_schedule(cluster),
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        params={
            "force_full": Param(False, type="boolean", description="Take a fresh full copy of the primary."),
            "base_backup_id": Param(
                None, type=["null", "string"], description="Replay from exactly this backup."
            ),
        },
        default_args={
            **_default_args(cluster),
            "on_failure_callback": on_failure_callback,
            **(default_args or {}),
        },
        on_failure_callback=on_run_failure_callback,
        on_success_callback=on_run_success_callback,
        tags=set(tags),
    ) as dag:
        restore_replay_task_group(cluster, deferrable=deferrable, on_quarantine=on_quarantine)
    return dag


def build_configured_dags(config: str | None = None, **kwargs: Any) -> dict[str, DAG]:
    """Build one DAG per cluster of the cluster file.

    :param config: its path; the variable ``RESTORE_REPLAY_CONFIG`` names it otherwise.
    :param kwargs: for :func:`build_restore_replay_dag`.
    :returns: DAGs by id, fit for ``globals().update``.
    :raises ConfigInvalid: the file is wrong; Airflow shows it as import error.
    """
    dags = [build_restore_replay_dag(c, **kwargs) for c in configured_clusters(config).values()]
    return {dag.dag_id: dag for dag in dags}


def _schedule(cluster: Cluster) -> CronDataIntervalTimetable | None:
    if cluster.schedule is None:
        return None
    return CronDataIntervalTimetable(cluster.schedule, timezone=cluster.timezone)


def _default_args(cluster: Cluster) -> dict[str, Any]:
    args: dict[str, Any] = {
        "owner": "restore-replay",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
    }
    if cluster.node.queue:
        args["queue"] = cluster.node.queue
    return args


def _sibling(task: BaseOperator, name: str) -> str:
    """:returns: the id of the task *name* next to *task*: inside a task group ids carry the group's prefix."""
    return task.task_id.removesuffix(task.label or "") + name
