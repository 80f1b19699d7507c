"""The shipped DAGs, and a cycle's task group for a DAG of your own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.dag.build import (
    build_configured_dags,
    build_restore_replay_dag,
)
from airflow_restore_replay.dag.cycle_tasks import restore_replay_task_group
from airflow_restore_replay.hooks.clusters import default_dag_id, default_drill_dag_id

if TYPE_CHECKING:
    from airflow_restore_replay.dag.drill import build_configured_drill_dags as build_configured_drill_dags
    from airflow_restore_replay.dag.drill import build_restore_drill_dag as build_restore_drill_dag
    from airflow_restore_replay.dag.freshness import (
        build_backup_freshness_dag as build_backup_freshness_dag,
    )
    from airflow_restore_replay.dag.freshness import (
        build_configured_freshness_dags as build_configured_freshness_dags,
    )
    from airflow_restore_replay.dag.freshness import default_freshness_dag_id as default_freshness_dag_id
    from airflow_restore_replay.dag.stopped import refuse_mistakes as refuse_mistakes

#: name → module, imported on first use, because each parse of the cycles' DAG file would import them
_LAZY = {
    "build_backup_freshness_dag": "freshness",
    "build_configured_drill_dags": "drill",
    "build_configured_freshness_dags": "freshness",
    "build_restore_drill_dag": "drill",
    "default_freshness_dag_id": "freshness",
    "refuse_mistakes": "stopped",
}
__all__ = [
    "build_backup_freshness_dag",
    "build_configured_dags",
    "build_configured_drill_dags",
    "build_configured_freshness_dags",
    "build_restore_drill_dag",
    "build_restore_replay_dag",
    "default_dag_id",
    "default_drill_dag_id",
    "default_freshness_dag_id",
    "refuse_mistakes",
    "restore_replay_task_group",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
