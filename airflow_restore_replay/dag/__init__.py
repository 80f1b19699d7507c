"""The shipped DAG, and a cycle's task group for a DAG of your own."""

from airflow_restore_replay.dag.build import (
    build_configured_dags,
    build_restore_replay_dag,
    default_dag_id,
)
from airflow_restore_replay.dag.cycle_tasks import restore_replay_task_group

__all__ = [
    "build_configured_dags",
    "build_restore_replay_dag",
    "default_dag_id",
    "restore_replay_task_group",
]
