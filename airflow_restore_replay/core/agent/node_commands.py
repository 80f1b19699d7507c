"""The agent's commands about one node: submit, status, cancel, describe, destroy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from airflow_restore_replay.core.agent import launch
from airflow_restore_replay.core.agent.state_file import StateFile, job_states, running_job
from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.errors import AgentDied, Blame, InternalError, NodeGone
from airflow_restore_replay.core.flavor.server_record import kill_recorded, recorded
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import JobRequest, JobState, JobStatus, decode_message
from airflow_restore_replay.core.system.processes import end, started_for

_START_TIMEOUT_S = 30.0


def submit(node: NodeDir, payload: bytes) -> JobState:
    """Start a job, or return the state of the job that its key already has.

    - A running job is attached to.
    - A job that succeeded answers with its result.
    - A job that failed with a verdict answers with the same verdict.
    - A job that failed by environment starts again.
    """
    request = decode_message(payload, JobRequest, sender="The worker")
    with node.lock():
        node.load()
        states = StateFile(node, request.key)
        known = states.observe()
        if known is not None and not _may_try_again(known):
            return known
        _refuse_second_job(node, request)
        _end_strays(node)
        return _start(node, states, payload, attempt_no=(known.attempt_no + 1 if known else 1))


def _may_try_again(known: JobState) -> bool:
    return (
        known.status is JobStatus.FAILED
        and known.failure is not None
        and known.failure.blame is Blame.ENVIRONMENT
    )


def _refuse_second_job(node: NodeDir, request: JobRequest) -> None:
    """Raise if another job runs on the node, because two jobs would write into one data directory."""
    running = running_job(node)
    if running is not None:
        raise InternalError(
            f"Job {request.job} was submitted to node {node.path.name} while {running.job} runs there.",
            hint="Wait for the running task or mark it failed, then retry.",
        )


def _end_strays(node: NodeDir) -> None:
    """End the processes that a killed agent left: programs of a seed, or a server that it had not recorded yet."""
    known = recorded(node.run)
    for process in started_for(node.path):
        if process != known:
            end(process, grace_s=5.0)


def _start(node: NodeDir, states: StateFile, payload: bytes, *, attempt_no: int) -> JobState:
    """Start the job's process and wait until it has written its first state."""
    states.path.unlink(missing_ok=True)
    launch.launch(node, states.log_path, payload, attempt_no=attempt_no)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        state = states.read()
        if state is not None:
            return state
        time.sleep(0.02)
    raise AgentDied(
        f"The job's process on node {node.path.name} did not start within {_START_TIMEOUT_S:.0f} s.",
        hint=f"Its log is {states.log_path}.",
    )


def status(node: NodeDir, payload: bytes) -> JobState:
    """Return the state of a job.

    :raises NodeGone: the node has no such job.
    """
    key = decode(payload, dict)["key"]
    state = StateFile(node, key).observe()
    if state is None:
        node.load()
        raise NodeGone(
            f"Node {node.path.name} has no job {key!r}.",
            hint="It was never submitted to this node, or its state file is lost; clear the run from create_node.",
        )
    return state


def cancel(node: NodeDir, payload: bytes) -> JobState:
    """Ask the job's process to end, and kill it if it does not."""
    state = status(node, payload)
    if state.status is JobStatus.RUNNING:
        end(state.process, grace_s=20.0)
    return status(node, payload)


def describe(node: NodeDir, payload: bytes) -> dict[str, Any]:
    """Return what people see of a node: ids, phase, times of creation and expiry, its running job."""
    state, running = node.load(), running_job(node)
    return {
        "node_id": state.node_id,
        "cluster": state.cluster.name,
        "run": state.run.run,
        "attempt": state.run.attempt,
        "phase": state.phase.value,
        "created_at": state.created_at.isoformat(),
        "expires_at": state.expires_at.isoformat(),
        "job": running.job.value if running else "",
        "workdir": str(node.path.parent),
    }


def destroy(node: NodeDir, payload: bytes) -> dict[str, Any]:
    """End jobs and server, and remove the directory; idempotent, and also for an incomplete node.

    A state that cannot be read does not keep the node: all its processes are found by their environment, too.

    :raises TargetNotEmpty: the directory is no node's.
    """
    node.refuse_other_content()
    for state in job_states(node):
        end(state.process, grace_s=5.0)
    kill_recorded(node.run)
    for process in started_for(node.path):
        end(process, grace_s=5.0)
    node.remove()
    return {"destroyed": node.path.name}


COMMANDS: dict[str, Callable[[NodeDir, bytes], JobState | dict[str, Any]]] = {
    "submit": submit,
    "status": status,
    "cancel": cancel,
    "describe": describe,
    "destroy": destroy,
}
