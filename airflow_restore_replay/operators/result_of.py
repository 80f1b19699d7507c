"""The result of a task, without an edge to that task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ResultOf:
    """Result of another task, pulled when the using task runs.

    Unlike ``task.output`` it adds no edge, which would change the effect of trigger rules. It is None if the other
    task left no result.

    :param item: key in the result, if the result is a mapping.
    """

    task_id: str
    item: str | None = None

    def resolve(self, context: Any) -> Any:
        """Return the value. Airflow calls this when it renders the task's templates."""
        result = context["ti"].xcom_pull(task_ids=self.task_id)
        return result if self.item is None or result is None else result[self.item]

    def serialize(self) -> str:
        """Return the text that Airflow shows before the task has run."""
        return f"result of {self.task_id}" + (f", {self.item}" if self.item else "")
