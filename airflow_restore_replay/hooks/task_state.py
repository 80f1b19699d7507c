"""State of a task as Airflow has it now, to find out whether a user ended it. For workers, not for triggers."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)

#: States that only a user can give to a running task, by marking it or clearing it.
ENDED_BY_USER = frozenset({"failed", "success", "skipped", "removed", "restarting"})
#: The state cannot be read. That is no reason to cancel a job and lose its work.
UNKNOWN = "unknown"


def task_state(ti: Any) -> str:
    """Return the state of a task; ``""`` if it has none, :data:`UNKNOWN` if it cannot be read.

    :param ti: names the task: ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
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
