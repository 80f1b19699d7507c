"""Run a command and put its answer, or its failure, into words that travel."""

from __future__ import annotations

import msgspec

from airflow_restore_replay.core.agent.commands import COMMANDS
from airflow_restore_replay.core.failure import Failure
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import Answer, JobState


def answer(command: str, node: NodeDir, payload: bytes) -> bytes:
    """Never raises: whatever goes wrong is an answer too."""
    try:
        outcome = COMMANDS[command](node, payload)
    except Exception as exc:
        return msgspec.json.encode(Answer(failure=Failure.of(exc)))
    if isinstance(outcome, JobState):
        return msgspec.json.encode(Answer(state=outcome))
    return msgspec.json.encode(Answer(info=outcome))
