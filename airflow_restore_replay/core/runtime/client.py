"""The worker's side of a node: submit, status, cancel, wait."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.errors import InternalError
from airflow_restore_replay.core.jobs.protocol import (
    JobRequest,
    JobState,
    JobStatus,
    NodeHandle,
    request_digest,
)
from airflow_restore_replay.core.runtime.base import Runtime
from airflow_restore_replay.core.runtime.host import answered
from airflow_restore_replay.core.runtime.waiter import Waiter

log = logging.getLogger(__name__)


class NodeClient:
    """Jobs on one node.

    :param runtime: how to reach the node.
    :param handle: which node.
    """

    def __init__(self, runtime: Runtime, handle: NodeHandle) -> None:
        self.runtime = runtime
        self.handle = handle

    def submit(self, request: JobRequest) -> JobState:
        """Start the job, attach to the running one, or return the state of the finished one, by key.

        A running job keeps the request that it was started with, whatever was edited since.
        """
        state = self._ask("submit", encode(request))
        if state.status is JobStatus.RUNNING and state.request != request_digest(request):
            log.warning(
                "Job %s of node %s keeps the parameters and the cluster that it was started with; later changes do not "
                "apply to it.",
                state.job,
                self.handle.node_id,
            )
        return state

    def status(self, key: str) -> JobState:
        return self._ask("status", encode({"key": key}))

    def cancel(self, key: str) -> JobState:
        """End the job; idempotent."""
        return self._ask("cancel", encode({"key": key}))

    def wait(self, key: str, *, on_progress: Callable[[JobState], None] = lambda _: None) -> dict[str, Any]:
        """Wait for the job.

        :returns: its result.
        :raises RestoreReplayError: the job's failure, of its original class.
        """
        return result_of(Waiter(lambda: self.status(key), on_progress).wait())

    def _ask(self, command: str, payload: bytes) -> JobState:
        answer = answered(self.runtime.ask(self.handle, command, payload))
        if answer.failure:
            raise answer.failure.to_exception()
        if answer.state is None:
            raise InternalError(
                f"The agent answered {command} of node {self.handle.node_id} without a state."
            )
        return answer.state


def result_of(state: JobState) -> dict[str, Any]:
    """Return the finished job's result.

    :raises RestoreReplayError: the job's failure, of its original class.
    """
    if state.failure:
        raise state.failure.to_exception()
    return state.result
