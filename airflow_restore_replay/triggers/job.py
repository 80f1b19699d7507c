"""The trigger of all deferred jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decoding import convert

if TYPE_CHECKING:
    from airflow_restore_replay.hooks.replay_node import ReplayNodeHook

#: Added to the interval after which a task's supervisor has noticed that the process deferred and exited.
SETTLE_MARGIN_S = 1.0
#: Longest time that cancelling may take when a user kills the task.
CANCEL_TIMEOUT_S = 20.0


def settle_s() -> float:
    """Return the minimum time that a deferred task stays deferred.

    Airflow 3.3 treats a task as failed if it is woken before its deferral is recorded. Its supervisor may notice the
    end of the task's process only at the next heartbeat.

    :returns: seconds, from Airflow's ``workers.min_heartbeat_interval``.
    """
    return conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0) + SETTLE_MARGIN_S


class JobTrigger(BaseTrigger):
    """Trigger that watches a job and wakes its task when the job has ended or cannot be watched.

    The event is only a wake-up: the task reads the job's state from the node again, so nothing is lost if a triggerer
    dies. A triggerer that cannot reach the node, for example from another host, returns the watch at once.

    :param cluster: the resolved cluster as plain values, without secrets: reading a job's state needs none.
    :param node: the node, as its task returned it.
    :param key: the job's key.
    :param owns_node: the node is of this job only, and is destroyed with it.
    """

    def __init__(
        self, *, cluster: dict[str, Any], node: dict[str, Any], key: str, owns_node: bool = False
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cluster = cluster
        self.node = node
        self.key = key
        self.owns_node = owns_node

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        owned = {"owns_node": True} if self.owns_node else {}
        return path, {"cluster": self.cluster, "node": self.node, "key": self.key, **owned}

    @cached_property
    def _hook(self) -> ReplayNodeHook:
        from airflow_restore_replay.hooks.replay_node import ReplayNodeHook

        return ReplayNodeHook(convert(self.cluster, Cluster))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``ended``, or ``unreachable`` with the reason."""
        try:
            settled = asyncio.create_task(asyncio.sleep(settle_s()))
            state = await self._hook.wait_async(self.node, self.key, on_progress=self.log.info)
            await settled
            yield TriggerEvent({"key": self.key, "status": "ended", "seen": state.status.value})
        except Exception as exc:
            # If the error persists, it recurs on the worker, which has the task's full context.
            self.log.warning("Cannot watch job %s from here: %s", self.key, exc)
            yield TriggerEvent({"key": self.key, "status": "unreachable", "seen": str(exc)})

    async def on_kill(self) -> None:
        """Cancel the job: a user marked the task failed or succeeded, or cleared it. Airflow ≥ 3.3 calls this.

        Airflow also calls it when another triggerer has taken over the watch because this one reported late. The
        task's state is not queried: the first such query loads Airflow's API in the triggerer, and blocks all triggers
        for many seconds. A task that no user ended is retried instead, and continues with what the node has.
        """
        end = self._hook.end_recovery if self.owns_node else self._hook.cancel
        cancelling = asyncio.to_thread(end, self.node, self.key)
        await asyncio.wait_for(cancelling, CANCEL_TIMEOUT_S)
