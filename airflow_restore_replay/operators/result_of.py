"""A task's result without an edge to the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ResultOf:
    """Another task's result, pulled when the task runs.

    Unlike ``task.output`` it adds no edge, which would change what the trigger rules mean; and it is None when
    that task left no result.

    :param item: key of the result, when it is a mapping.
    """

    task_id: str
    item: str | None = None

    def resolve(self, context: Any) -> Any:
        """:returns: the value; Airflow calls this when it renders the task's templates."""
        result = context["ti"].xcom_pull(task_ids=self.task_id)
        return result if self.item is None or result is None else result[self.item]

    def serialize(self) -> str:
        """:returns: what Airflow shows before the task has run."""
        return f"result of {self.task_id}" + (f", {self.item}" if self.item else "")
