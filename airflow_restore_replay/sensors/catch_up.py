"""Wait until the replay node contains the goal."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseSensorOperator

from airflow_restore_replay.core.jobs.protocol import JobName
from airflow_restore_replay.operators.base import NodeJobOperator


class BinlogCatchupSensor(NodeJobOperator, BaseSensorOperator):
    """Replay the primary's binary log until the node contains the goal: the primary's position, read once.

    The criterion is met by containment, never by a lag of 0. The sensor drives the job and waits for it; it does
    not poke, so ``deferrable=True`` takes the place of ``mode="reschedule"``. The cluster's
    ``catch_up.stall_timeout`` and ``catch_up.deadline`` bound the wait.

    Returns ``goal, goal_read_at, position, transactions, seconds, transactions_per_s``.
    """

    job = JobName.CATCH_UP
    ui_color = "#d6e4f7"

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.get("mode", "poke") != "poke":
            raise ValueError("BinlogCatchupSensor has no mode 'reschedule'; use deferrable=True.")
        super().__init__(**kwargs)
