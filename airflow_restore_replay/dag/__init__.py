"""The shipped DAGs, and a cycle's task group for a DAG of your own."""

from airflow_restore_replay.dag.build import (
    build_configured_dags,
    build_restore_replay_dag,
    default_dag_id,
)
from airflow_restore_replay.dag.cycle_tasks import restore_replay_task_group
from airflow_restore_replay.dag.drill import (
    build_configured_drill_dags,
    build_restore_drill_dag,
    default_drill_dag_id,
)

__all__ = [
    "build_configured_dags",
    "build_configured_drill_dags",
    "build_restore_drill_dag",
    "build_restore_replay_dag",
    "default_dag_id",
    "default_drill_dag_id",
    "restore_replay_task_group",
]
