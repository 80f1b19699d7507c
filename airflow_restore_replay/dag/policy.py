"""How long the cycle's tasks may take, and who hears of their failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.jobs.protocol import JobName
from airflow_restore_replay.notifications.announcer import Announcer
from airflow_restore_replay.operators import AcquireLeaseOperator, DiagnoseCycleOperator, PruneOperator

Callback = Callable[[Any], Any]


def timeout_of(cluster: Cluster, task: BaseOperator) -> timedelta:
    """:returns: how long *task* may take: more than what ends its work from within."""
    limits = cluster.timeouts
    if isinstance(task, AcquireLeaseOperator):
        return timedelta(seconds=cluster.lease.wait + limits.step)
    if isinstance(task, PruneOperator):
        return timedelta(seconds=limits.prune)
    job: JobName | None = getattr(task, "job", None)
    if job is None:
        return timedelta(seconds=limits.step)
    if job is JobName.CATCH_UP:
        # It may have to fill its node again, once.
        return timedelta(seconds=cluster.catch_up.deadline + max(limits.restore, limits.seed))
    return timedelta(seconds=getattr(limits, job.value))


def listed(callbacks: Callback | Sequence[Callback] | None) -> list[Callback]:
    """:returns: Airflow's ways to give callbacks, as a list."""
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, Sequence) else [callbacks]


def add_failure_callbacks(task: BaseOperator, callbacks: Iterable[Callback]) -> None:
    """Call *callbacks* after what *task* has already."""
    task.on_failure_callback = [*listed(task.on_failure_callback), *callbacks]


def leave_to_the_run(tasks: Iterable[BaseOperator], told_of_runs: Iterable[Announcer]) -> None:
    """A failed ``diagnose`` says what the failed run says: who is told of the run is not told twice."""
    told = [announcer.notifier for announcer in told_of_runs]
    for task in tasks:
        if isinstance(task, DiagnoseCycleOperator):
            kept = [
                c
                for c in listed(task.on_failure_callback)
                if not (isinstance(c, Announcer) and c.notifier in told)
            ]
            task.on_failure_callback = kept
