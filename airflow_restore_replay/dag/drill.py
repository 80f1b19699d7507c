"""The shipped DAG of drills: on a schedule, a restore to a moment of the window, without the primary."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.dag.policy import Callback, configured_dags, default_tags, timetable
from airflow_restore_replay.hooks.clusters import default_drill_dag_id
from airflow_restore_replay.notifications import cluster_announcers
from airflow_restore_replay.notifications.announcer import callbacks_for
from airflow_restore_replay.notifications.message_texts import RUN_FAILURE
from airflow_restore_replay.operators import RestoreDrillOperator

DOC = """\
### Restore drills of `{cluster}`

Each run restores to a moment of the archive's window without the primary, starts and checks the result, records what
it took, and throws it away. `restore-replay report` shows the records. Damage quarantines the backup that it is in, and
fails the run.
"""


def build_restore_drill_dag(
    cluster: Cluster,
    *,
    dag_id: str | None = None,
    notifiers: Sequence[Callback] = (),
    default_args: dict[str, Any] | None = None,
    tags: Sequence[str] | None = None,
) -> DAG:
    """Build the drill DAG of one cluster.

    :param dag_id: ``restore_drill_<cluster>`` unless given.
    :param notifiers: called when a drill fails, and when one succeeds again, beside those of the cluster file's
        ``notify``.
    :param default_args: override the defaults.
    :param tags: ``drill`` and those of the cluster's DAG of backups unless given.
    """
    told_of_runs = callbacks_for(cluster_announcers(cluster, notifiers), RUN_FAILURE)
    queue = {"queue": cluster.node.queue} if cluster.node.queue else {}
    with DAG(
        dag_id or default_drill_dag_id(cluster),
        description=f"Restores of {cluster.name} for practice, without the primary",
        doc_md=DOC.format(cluster=cluster.name),
        schedule=timetable(cluster, cluster.drill.schedule),
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        params={
            "moments": Param(
                cluster.drill.moments,
                type="string",
                enum=["random", "latest"],
                description="What to restore.",
            )
        },
        default_args={
            "owner": "restore-replay",
            "retries": 1,
            "retry_delay": timedelta(minutes=5),
            **queue,
            **(default_args or {}),
        },
        on_failure_callback=[*told_of_runs] or None,
        on_success_callback=[announcer.after_success for announcer in told_of_runs] or None,
        tags=set((*default_tags(cluster), "drill") if tags is None else tags),
    ) as dag:
        RestoreDrillOperator(
            task_id="drill",
            cluster=cluster,
            moments="{{ params.moments }}",
            execution_timeout=timedelta(seconds=cluster.timeouts.restore + cluster.catch_up.deadline),
        )
    return dag


def build_configured_drill_dags(config: str | None = None, **kwargs: Any) -> dict[str, DAG]:
    """Build one DAG for each cluster of the cluster file that has ``drill.schedule``.

    :param config: path of the file; default is the variable ``RESTORE_REPLAY_CONFIG``.
    :param kwargs: for :func:`build_restore_drill_dag`.
    :returns: DAGs by id, for ``globals().update``.
    """
    return configured_dags(
        config,
        wanted=lambda cluster: bool(cluster.drill.schedule),
        dag_id=default_drill_dag_id,
        build=lambda cluster: build_restore_drill_dag(cluster, **kwargs),
    )
