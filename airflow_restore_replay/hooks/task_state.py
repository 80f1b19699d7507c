"""What Airflow thinks of a task right now: whether a user ended it. For workers, not for triggers."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)

#: states that a running task gets from a user only: marked, or cleared while it ran
ENDED_BY_USER = frozenset({"failed", "success", "skipped", "removed", "restarting"})
#: Airflow cannot be asked; that is no reason to give up what a job has done
UNKNOWN = "unknown"


def task_state(ti: Any) -> str:
    """:param ti: names the task: ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
    :returns: its state; ``""`` when it has none.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    map_index = ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None
    try:
        found = RuntimeTaskInstance.get_task_states(
            dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[ti.task_id], map_index=map_index
        )
    except Exception as exc:
        log.warning("The state of task %s cannot be read: %s", ti.task_id, exc)
        return UNKNOWN
    return str(next(iter(found.get(ti.run_id, {}).values()), None) or "")
