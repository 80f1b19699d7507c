"""Nodes in other places: the agent's commands run there as a program, with JSON on its standard input and output.

This module converts failures between caller and agent to errors of their own classes; only
:func:`retry_unreachable` retries them. All agent commands are idempotent: a job is submitted by its key, a node is
created and destroyed by its id.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from airflow_restore_replay import __version__
from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.errors import AgentFailed, AgentMissing, NodeUnreachable
from airflow_restore_replay.core.jobs.protocol import Answer
from airflow_restore_replay.core.runtime.host import HostRuntime

log = logging.getLogger(__name__)
T = TypeVar("T")

_MODULE = "airflow_restore_replay.core.agent"
#: pauses before retries while a node is unreachable; after them the task fails, which has retries of its own
_PAUSES_S = (1.0, 2.0, 4.0)
_TIMEOUT_S = 120.0
#: deleting a data directory can take long, and so can waiting for a store that does not answer
_TIMEOUTS_S = {"destroy": 900.0, "nodes": 300.0, "examine": 900.0}
#: exit codes of a shell or an engine that cannot run the program: not executable, not found
_NO_PROGRAM = (126, 127)
_TAIL_CHARS = 600
#: far above any answer; a node that was broken into must not fill the memory of its caller
_ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
_MESSAGES_BYTES = 64 * 1024
_NOTHING_ELSE = "Its output must be nothing but its answer: no shell start-up file may print anything."


class Completed(NamedTuple):
    """Output and exit code of a program that has ended.

    :param exit_code: negative or above 128 if a signal ended it.
    """

    stdout: bytes
    stderr: bytes
    exit_code: int


class Output:
    """Output of a program while it arrives: its whole answer up to a limit, and the end of its messages.

    :param place: where the program runs, for the error.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._answer = bytearray()
        self._messages = b""

    def answer(self, data: bytes) -> None:
        """Take in a piece of standard output.

        :raises AgentFailed: the answer is larger than the limit.
        """
        self._answer += data
        if len(self._answer) > _ANSWER_LIMIT_BYTES:
            raise AgentFailed(
                f"The output of the agent on {self._place} is larger than {human_bytes(_ANSWER_LIMIT_BYTES)}.",
                hint=_NOTHING_ELSE,
            )

    def message(self, data: bytes) -> None:
        """Take in a piece of standard error."""
        self._messages = (self._messages + data)[-_MESSAGES_BYTES:]

    def completed(self, exit_code: int) -> Completed:
        return Completed(bytes(self._answer), self._messages, exit_code)


class Transport(Protocol):
    """Runs programs where a node lives, over a connection that it opens on demand and reuses.

    :param place: name of that place, for people: ``host db1.example.com``, ``container 3f2a…``.
    """

    place: str

    def run(self, argv: Sequence[str], payload: bytes, *, timeout_s: float) -> Completed:
        """Run *argv* with *payload* as standard input; no shell interprets its arguments.

        :raises AgentFailed: the program printed more than any answer has.
        :raises NodeUnreachable: the connection failed or was lost, or *timeout_s* seconds passed; it is unknown how far
            the program got. A failure that no retry can resolve is a subclass, or another error, that is not
            ``retryable``.
        """
        ...


def retry_unreachable(ask: Callable[[], T]) -> T:
    """Retry an idempotent call a few times, with growing pauses, while the place is unreachable.

    :raises NodeUnreachable: the last retry failed, too, or the failure is not ``retryable``.
    """
    for pause_s in _PAUSES_S:
        try:
            return ask()
        except NodeUnreachable as exc:
            if not exc.retryable:
                raise
            log.warning("%s Asking again in %.0f s.", exc.message, pause_s)
            time.sleep(pause_s)
    return ask()


def agent_argv(python: str, command: str, directory: str) -> list[str]:
    """Return argv that runs one command of the agent."""
    return [python, "-m", _MODULE, command, directory]


class RemoteAgent:
    """The agent at the other end of a transport.

    :param python: the interpreter there that has this package.
    """

    def __init__(self, transport: Transport, python: str = "python3") -> None:
        self._transport = transport
        self._python = python

    def __call__(self, command: str, directory: str, payload: bytes) -> bytes:
        """Run one command.

        :returns: its :class:`Answer`, as JSON.
        :raises NodeUnreachable: the place is unreachable, even after retries.
        :raises AgentMissing: the package is not installed there.
        :raises AgentFailed: the output is not an answer.
        """
        argv = agent_argv(self._python, command, directory)
        return retry_unreachable(lambda: self._ask(command, argv, payload))

    def _ask(self, command: str, argv: Sequence[str], payload: bytes) -> bytes:
        timeout_s = _TIMEOUTS_S.get(command, _TIMEOUT_S)
        done = self._transport.run(argv, payload, timeout_s=timeout_s)
        try:
            decode(done.stdout, Answer)
        except msgspec.MsgspecError as exc:
            raise self._no_answer(command, done) from exc
        return done.stdout

    def _no_answer(self, command: str, done: Completed) -> NodeUnreachable | AgentMissing | AgentFailed:
        place, said = self._transport.place, _tail(done.stderr) or _tail(done.stdout)
        if done.exit_code in _NO_PROGRAM or "No module named" in said:
            return AgentMissing(
                f"{self._python} on {place} cannot run this package's agent: {said}",
                hint="Install it there: "
                f"{self._python} -m pip install airflow-restore-replay=={__version__}; or set node.python.",
            )
        if done.exit_code < 0 or done.exit_code > 128:
            return NodeUnreachable(
                f"The agent on {place} was killed while it answered {command}. {said}".strip()
            )
        return AgentFailed(
            f"The agent on {place} ended {command} with exit code {done.exit_code} and no answer: {said}",
            hint=_NOTHING_ELSE,
        )


class RemoteRuntime(HostRuntime):
    """Nodes as directories and processes of another host.

    :param name: name of the runtime in the cluster file's ``node.runtime``.
    """

    def __init__(self, name: str, transport: Transport, *, workdir: str, host: str, python: str) -> None:
        super().__init__(workdir=workdir, host=host)
        self.name = name
        self._agent = RemoteAgent(transport, python)

    def agent(self, command: str, directory: str, payload: bytes) -> bytes:
        return self._agent(command, directory, payload)


def _tail(output: bytes) -> str:
    text = output.decode(errors="replace").strip()
    return text if len(text) <= _TAIL_CHARS else f"…{text[-_TAIL_CHARS:]}"
