"""What the shipped DAGs share: their clusters and schedules, timeouts, and the callbacks for failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator, get_parsing_context

from airflow_restore_replay.compat import CronDataIntervalTimetable
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.jobs.protocol import JobName
from airflow_restore_replay.hooks.clusters import configured_fleet
from airflow_restore_replay.notifications.announcer import Announcer
from airflow_restore_replay.operators import AcquireLeaseOperator, DiagnoseCycleOperator, PruneOperator

Callback = Callable[[Any], Any]


def default_tags(cluster: Cluster) -> tuple[str, ...]:
    """Return the tags of a cluster's DAG, by which Airflow's list of DAGs is filtered."""
    return ("restore-replay", f"flavor:{cluster.flavor}", f"cluster:{cluster.name}")


def timetable(cluster: Cluster, schedule: str | None) -> CronDataIntervalTimetable | None:
    """Return when a DAG of the cluster starts by *schedule*; None for a DAG that a person starts."""
    if not schedule:
        return None
    return CronDataIntervalTimetable(cluster.starts(schedule), timezone=cluster.timezone)


def configured_dags(
    config: str | None,
    *,
    wanted: Callable[[Cluster], bool],
    dag_id: Callable[[Cluster], str],
    build: Callable[[Cluster], DAG],
) -> dict[str, DAG]:
    """Build a DAG of each cluster of the cluster file that is *wanted*; in a task, only the DAG of that task.

    :param dag_id: returns the default id of a cluster's DAG.
    :returns: DAGs by id.
    :raises ConfigInvalid: the file is missing, or no cluster is right.
    """
    fleet = configured_fleet(config)
    if not fleet.clusters:
        fleet.refuse_mistakes()
    of_task = get_parsing_context().dag_id
    clusters = [cluster for cluster in fleet.clusters.values() if wanted(cluster)]
    chosen = [cluster for cluster in clusters if dag_id(cluster) == of_task] or clusters
    dags = [build(cluster) for cluster in chosen]
    return {dag.dag_id: dag for dag in dags}


def timeout_of(cluster: Cluster, task: BaseOperator) -> timedelta:
    """Return the timeout of *task*, which is longer than the limits that end its work from within."""
    limits = cluster.timeouts
    if isinstance(task, AcquireLeaseOperator):
        return timedelta(seconds=cluster.lease.wait + limits.step)
    if isinstance(task, PruneOperator):
        return timedelta(seconds=limits.prune)
    job: JobName | None = getattr(task, "job", None)
    if job is None:
        return timedelta(seconds=limits.step)
    if job is JobName.CATCH_UP:
        # Catch-up may have to rebuild its node, once.
        return timedelta(seconds=cluster.catch_up.deadline + max(limits.restore, limits.seed))
    return timedelta(seconds=getattr(limits, job.value))


def listed(callbacks: Callback | Sequence[Callback] | None) -> list[Callback]:
    """Return *callbacks* as a list; Airflow accepts one, several or None."""
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, Sequence) else [callbacks]


def add_failure_callbacks(task: BaseOperator, callbacks: Iterable[Callback]) -> None:
    """Call *callbacks* after those that *task* already has."""
    task.on_failure_callback = [*listed(task.on_failure_callback), *callbacks]


def leave_to_the_run(tasks: Iterable[BaseOperator], told_of_runs: Iterable[Announcer]) -> None:
    """Remove announcers from ``diagnose`` that are also called for the run.

    A failed ``diagnose`` reports the same as the failed run, which would be announced twice.

    :param told_of_runs: the announcers that are called for a failed run.
    """
    told = [announcer.notifier for announcer in told_of_runs]
    for task in tasks:
        if isinstance(task, DiagnoseCycleOperator):
            kept = [
                c
                for c in listed(task.on_failure_callback)
                if not (isinstance(c, Announcer) and c.notifier in told)
            ]
            task.on_failure_callback = kept
