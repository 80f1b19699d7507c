"""Wait until the replay node contains the goal."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseSensorOperator

from airflow_restore_replay.core.jobs.protocol import JobName
from airflow_restore_replay.operators.base import NodeJobOperator


class BinlogCatchupSensor(NodeJobOperator, BaseSensorOperator):
    """Sensor that replays the primary's binary log until the node contains the goal: the primary's position, read once.

    The criterion is that the node contains the goal, never that the lag is 0. The sensor submits the job and waits for
    it. It does not poke, so ``deferrable=True`` takes the place of ``mode="reschedule"``. The cluster's
    ``catch_up.stall_timeout`` and ``catch_up.deadline`` limit the wait.

    Returns ``goal, goal_read_at, position, transactions, seconds, transactions_per_s``.
    """

    job = JobName.CATCH_UP
    ui_color = "#d6e4f7"

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.get("mode", "poke") != "poke":
            raise ValueError("BinlogCatchupSensor has no mode 'reschedule'; use deferrable=True.")
        super().__init__(**kwargs)
