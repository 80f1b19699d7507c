"""Run programs in a container by the engine's ``exec``."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_restore_replay.core.errors import NodeGone, NodeUnreachable
from airflow_restore_replay.core.runtime.engine import Engine, NotFound
from airflow_restore_replay.core.runtime.remote import Completed, Output

# The program's input must end, but not every connection to an engine can be closed in one direction (TLS, SSH,
# proxies). So `head` ends the input after its length. No shell interprets the program's arguments.
_WITH_INPUT = ("sh", "-c", 'size=$1; shift; head -c "$size" | "$@"', "sh")
_STDOUT, _STDERR = 1, 2
_POLL_S = 0.05
_PIECE_BYTES = 64 * 1024


class ContainerTransport:
    """Transport into one container, which it starts again if the container was killed or its host rebooted.

    :param name: name of the container.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.place = f"container {name}"
        self._engine = engine
        self._name = name

    def run(self, argv: Sequence[str], payload: bytes, *, timeout_s: float) -> Completed:
        """See :class:`~airflow_restore_replay.core.runtime.remote.Transport`.

        :raises NodeGone: there is no such container.
        """
        try:
            # A container that was killed since it was started refuses the program as a conflict.
            with self._engine.failures(self.place, conflicts_end=True):
                self._start()
                return self._run(
                    [*_WITH_INPUT, str(len(payload)), *argv], payload, time.monotonic() + timeout_s
                )
        except NotFound as exc:
            raise NodeGone(
                f"The {self.place} does not exist.",
                hint="It was destroyed or reaped; clear the run from create_node.",
            ) from exc

    def _start(self) -> None:
        state = self._engine.client.inspect_container(self._name)["State"]
        if not state["Running"]:
            self._engine.client.start(self._name)

    def _run(self, command: list[str], payload: bytes, deadline: float) -> Completed:
        client = self._engine.client
        exec_id = client.exec_create(self._name, command, stdin=True)["Id"]
        stream = client.exec_start(exec_id, socket=True)
        try:
            # The client wraps plain connections in a file-like object.
            connection = getattr(stream, "_sock", stream)
            connection.settimeout(max(deadline - time.monotonic(), 0.1))
            connection.sendall(payload)
            output = Output(self.place)
            takers = {_STDOUT: output.answer, _STDERR: output.message}
            for kind, data in _frames(connection, deadline):
                if kind in takers:
                    takers[kind](data)
        finally:
            stream.close()
        return output.completed(self._exit_code(exec_id, deadline))

    def _exit_code(self, exec_id: str, deadline: float) -> int:
        """Return the exit code of the program.

        :raises NodeUnreachable: the program still runs at *deadline*, after its output has ended.
        """
        while (seen := self._engine.client.exec_inspect(exec_id))["Running"]:
            if time.monotonic() > deadline:
                raise NodeUnreachable(f"The {self.place} gave no answer in time.")
            time.sleep(_POLL_S)
        # None: the container was killed while the program ran.
        return int(seen["ExitCode"]) if seen["ExitCode"] is not None else -9


def _frames(connection: Any, deadline: float) -> Iterator[tuple[int, bytes]]:
    """Yield the number of a stream and a piece of the data that was written there.

    Source: Docker Engine API, "Attach to a container", "Stream format".
    """
    while header := _receive(connection, 8, deadline):
        kind, left = struct.unpack(">BxxxL", header)
        while left:
            piece = _receive(connection, min(left, _PIECE_BYTES), deadline)
            if not piece:
                raise _cut_off()
            left -= len(piece)
            yield kind, piece


def _receive(connection: Any, size: int, deadline: float) -> bytes:
    """Return *size* bytes, or ``b""`` at the end of the stream.

    :raises EOFError: the stream ends after fewer bytes.
    :raises TimeoutError: *deadline* has passed.
    """
    received = b""
    while len(received) < size:
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
        connection.settimeout(max(deadline - time.monotonic(), 0.1))
        data = connection.recv(size - len(received))
        if not data:
            if received:
                raise _cut_off()
            break
        received += data
    return received


def _cut_off() -> EOFError:
    return EOFError("the stream ended within an answer")
