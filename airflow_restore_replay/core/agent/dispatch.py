"""Run a command, and encode its answer or its failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_restore_replay.core.agent import host_commands as host
from airflow_restore_replay.core.agent import node_commands as commands
from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.errors import ProtocolMismatch
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.ownership import refuse_foreign
from airflow_restore_replay.core.jobs.protocol import PROTOCOL_VERSION, Answer, JobState


def answer(command: str, directory: Path, payload: bytes) -> bytes:
    """Run *command*, and return its encoded answer; an error is an answer, too, and never raised.

    :param directory: the node's directory; for commands about a host, the work directory of all its nodes.
    """
    try:
        outcome = _run(command, directory, payload)
    except Exception as exc:
        return encode(Answer(failure=Failure.of(exc)))
    if isinstance(outcome, JobState):
        return encode(Answer(state=outcome))
    return encode(Answer(info=outcome))


def _run(command: str, directory: Path, payload: bytes) -> JobState | dict[str, Any]:
    if command in host.COMMANDS:
        return host.COMMANDS[command](directory, payload)
    if command in commands.COMMANDS:
        node = NodeDir(directory)
        refuse_foreign(node.path)
        return commands.COMMANDS[command](node, payload)
    raise ProtocolMismatch(
        f"This agent, of protocol {PROTOCOL_VERSION}, does not know the command {command!r}.",
        hint="Install the same release of airflow-restore-replay on workers and nodes.",
    )
