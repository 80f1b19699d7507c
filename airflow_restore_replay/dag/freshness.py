"""The shipped DAG that watches the age of the newest backup from inside Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.dag.policy import Callback, configured_dags, timetable
from airflow_restore_replay.notifications import cluster_announcers
from airflow_restore_replay.notifications.announcer import callbacks_for
from airflow_restore_replay.notifications.message_texts import RUN_FAILURE
from airflow_restore_replay.sensors import BackupFreshnessSensor

DOC = """\
### Freshness of the backups of `{cluster}`

Each run fails if the newest proven backup is older than `max_age`, or if its age is unknown. It needs neither the
primary nor a node. It tells nothing if Airflow itself is down: watch the age from outside as well.
"""


def build_backup_freshness_dag(
    cluster: Cluster,
    *,
    dag_id: str | None = None,
    notifiers: Sequence[Callback] = (),
    default_args: dict[str, Any] | None = None,
    tags: Sequence[str] = ("restore-replay", "freshness"),
) -> DAG:
    """Build the freshness DAG of one cluster.

    :param dag_id: ``backup_freshness_<cluster>`` unless given.
    :param notifiers: called when the backups become stale, and when they are fresh again, beside those of the cluster
        file's ``notify``.
    :param default_args: override the defaults.
    """
    told_of_runs = callbacks_for(cluster_announcers(cluster, notifiers), RUN_FAILURE)
    with DAG(
        dag_id or default_freshness_dag_id(cluster),
        description=f"Whether the newest backup of {cluster.name} is young enough",
        doc_md=DOC.format(cluster=cluster.name),
        schedule=timetable(cluster, cluster.freshness.schedule),
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        default_args={"owner": "restore-replay", "retries": 1, "retry_delay": timedelta(minutes=1)}
        | (default_args or {}),
        on_failure_callback=[*told_of_runs] or None,
        on_success_callback=[announcer.after_success for announcer in told_of_runs] or None,
        tags=set(tags),
    ) as dag:
        BackupFreshnessSensor(
            task_id="fresh",
            cluster=cluster,
            rpo=None if cluster.freshness.rpo is None else float(cluster.freshness.rpo),
            execution_timeout=timedelta(seconds=cluster.timeouts.step),
        )
    return dag


def build_configured_freshness_dags(config: str | None = None, **kwargs: Any) -> dict[str, DAG]:
    """Build one DAG for each cluster of the cluster file that has ``freshness.schedule``.

    :param config: path of the file; default is the variable ``RESTORE_REPLAY_CONFIG``.
    :param kwargs: for :func:`build_backup_freshness_dag`.
    :returns: DAGs by id, for ``globals().update``.
    """
    return configured_dags(
        config,
        wanted=lambda cluster: bool(cluster.freshness.schedule),
        dag_id=default_freshness_dag_id,
        build=lambda cluster: build_backup_freshness_dag(cluster, **kwargs),
    )


def default_freshness_dag_id(cluster: Cluster) -> str:
    """Return the default id of a cluster's freshness DAG."""
    return f"backup_freshness_{cluster.name}"
