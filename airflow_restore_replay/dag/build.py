"""The shipped DAG: a cycle on a schedule, with its parameters and callbacks."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_parsing_context
from airflow.sdk.definitions.param import ParamsDict

from airflow_restore_replay.compat import CronDataIntervalTimetable
from airflow_restore_replay.core.config.cluster import Cluster, Fleet
from airflow_restore_replay.dag.cycle_tasks import restore_replay_task_group
from airflow_restore_replay.dag.policy import Callback, default_tags, leave_to_the_run, listed
from airflow_restore_replay.hooks.clusters import configured_fleet, default_dag_id
from airflow_restore_replay.notifications import cluster_announcers
from airflow_restore_replay.notifications.announcer import callbacks_for
from airflow_restore_replay.notifications.message_texts import RUN_FAILURE

Callbacks = Callback | list[Callback] | None

#: as records have it; a node's id has the same form
_BACKUP_ID = r"^\d{8}T\d{6}Z-[0-9a-f]{8}$"

DOC = """\
### Backups of `{cluster}` that are produced by being restored

1. `acquire_lease` waits until no other run works for this cluster.
2. `choose_base` takes the newest healthy backup. Without one, the run goes on with `full`.
3. `replay`: `create_node`, `restore_backup`, `catch_up`, `validate`, `snapshot`, `destroy_node`.
4. `diagnose` decides by what was recorded:
    - all well: `published`, then `prune`;
    - evidence against the base: `quarantine_backup`, then `full`;
    - no base, or one that the primary cannot continue: `full`;
    - anything else: the run fails here, and nothing is quarantined.
5. `full`: `create_node`, `seed`, `catch_up`, `validate`, `snapshot`, `destroy_node`; then `published` and `prune`.
6. `release_lease` lets the next run begin.

With `prove: restored`, `prove` (`create_node`, `restore_backup`, `validate`) and `proven` come between `published` and
`prune`: the new backup is restored on a node of its own, and quarantined (`quarantine_backup_prove`) if it is damaged.

Nodes are always destroyed. Parameters: `force_full` takes a fresh full copy; `base_backup_id` names the backup to
replay from; `as_of` rebuilds the backup of a past time.

A run with `as_of`, and each run of a backfill for the end of its interval, starts from the newest base before that time
and needs the primary's binary logs since. It fails if either is missing; it never takes a fresh full.
"""


def build_restore_replay_dag(
    cluster: Cluster,
    *,
    dag_id: str | None = None,
    deferrable: bool | None = None,
    on_failure_callback: Callbacks = None,
    on_run_failure_callback: Callbacks = None,
    on_run_success_callback: Callbacks = None,
    on_quarantine: Callback | Sequence[Callback] = (),
    notifiers: Sequence[Callback] = (),
    default_args: dict[str, Any] | None = None,
    tags: Sequence[str] | None = None,
) -> DAG:
    """Build the DAG of one cluster.

    There is no run timeout (it would skip the teardowns) and no pool (the lease excludes other runs).

    :param dag_id: ``restore_replay_<cluster>`` unless given.
    :param deferrable: whether waiting tasks defer; Airflow's ``operators.default_deferrable`` unless given.
    :param on_failure_callback: functions or notifiers, called for every task after its last retry.
    :param on_run_failure_callback, on_run_success_callback: called for the run as a whole.
    :param on_quarantine: functions or notifiers, called with the context when a backup was quarantined.
    :param notifiers: called on failures, quarantines and recoveries, with a message as ``cycle`` in their context. They
        are added to those of the cluster file's ``notify``. An
        :class:`~airflow_restore_replay.notifications.Announcer` chooses the occasions.
    :param default_args: override the defaults: two retries with a short, growing delay.
    :param tags: ``restore-replay``, ``flavor:…`` and ``cluster:…`` unless given.
    """
    told_of_runs = callbacks_for(cluster_announcers(cluster, notifiers), RUN_FAILURE)
    with DAG(
        dag_id or default_dag_id(cluster),
        description=f"Backups of {cluster.name} that are produced by being restored",
        doc_md=DOC.format(cluster=cluster.name),
        schedule=_schedule(cluster),
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        default_args={
            **_default_args(cluster),
            "on_failure_callback": on_failure_callback,
            **(default_args or {}),
        },
        on_failure_callback=[*listed(on_run_failure_callback), *told_of_runs] or None,
        on_success_callback=on_run_success_callback,
        tags=set(default_tags(cluster) if tags is None else tags),
    ) as dag:
        cycle = restore_replay_task_group(
            cluster, deferrable=deferrable, on_quarantine=on_quarantine, notifiers=notifiers
        )
        leave_to_the_run(cycle.tasks, told_of_runs)
    # Set before, each constructor in the hierarchy of each task would copy them, which took a third of the parse. Set
    # in the usual way, they would be compiled as JSON schemas.
    object.__setattr__(dag, "params", ParamsDict(_params()))
    return dag


def build_configured_dags(config: str | None = None, **kwargs: Any) -> dict[str, DAG]:
    """Build one DAG per cluster of the cluster file.

    A cluster with a mistake has a DAG that says so, and whose runs fail. An import error would stop the DAGs of all.
    Each task parses the DAG file again. In a task only the DAG of that task is built.

    :param config: path of the file; default is the variable ``RESTORE_REPLAY_CONFIG``.
    :param kwargs: for :func:`build_restore_replay_dag`.
    :returns: DAGs by id, for ``globals().update``.
    :raises ConfigInvalid: the file is missing, or no cluster is right; Airflow shows that as an import error.
    """
    fleet = configured_fleet(config)
    if not fleet.clusters:
        fleet.refuse_mistakes()
    wanted = get_parsing_context().dag_id
    found = {default_dag_id(name): name for name in fleet.names}
    if wanted in found:
        found = {wanted: found[wanted]}
    with _collecting_later():
        return {dag.dag_id: dag for dag in (_configured_dag(fleet, name, kwargs) for name in found.values())}


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Keep Python from looking for garbage: DAGs are many objects, and all of them stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _configured_dag(fleet: Fleet, name: str, kwargs: dict[str, Any]) -> DAG:
    if name in fleet.clusters:
        return build_restore_replay_dag(fleet.clusters[name], **kwargs)
    from airflow_restore_replay.dag.stopped import build_stopped_dag

    return build_stopped_dag(fleet, name, default_dag_id(name), **kwargs)


def _schedule(cluster: Cluster) -> CronDataIntervalTimetable | None:
    if cluster.schedule is None:
        return None
    return CronDataIntervalTimetable(cluster.starts(cluster.schedule), timezone=cluster.timezone)


def _params() -> dict[str, Param]:
    return {
        "force_full": Param(False, type="boolean", description="Take a fresh full copy of the primary."),
        "base_backup_id": Param(
            None,
            type=["null", "string"],
            pattern=_BACKUP_ID,
            title="base_backup_id",
            description="Replay from exactly this backup; `restore-replay list` and the records that finished "
            "runs link to have the ids, such as 20261121T030004Z-1a2b3c4d. Empty: the newest healthy one.",
        ),
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="as_of",
            description="Rebuild the backup as of this past time, from the newest base before it and the primary's "
            "binary logs since. Empty: back up the present state.",
        ),
    }


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
