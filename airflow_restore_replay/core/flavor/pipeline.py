"""Pipe one program's output into another's input, counted and cancellable, without a shell or a file in between."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from airflow_restore_replay.core.errors import JobCancelled
from airflow_restore_replay.core.system.processes import program_environment

_BLOCK_BYTES = 1 << 20
_KEPT_BYTES = 1 << 16


@dataclass(frozen=True)
class Piped:
    """Exit of both programs.

    :param tail: the last 64 KiB that were copied.
    """

    source_status: int
    source_stderr: str
    sink_status: int
    sink_stderr: str
    copied_bytes: int
    tail: bytes


def pipe(
    source: Sequence[str],
    sink: Sequence[str],
    *,
    progress: Callable[[int], None],
    cancelled: Callable[[], bool],
    watch: Callable[[bytes], None] = lambda _: None,
    source_environment: Mapping[str, str] | None = None,
) -> Piped:
    """Run *source* | *sink*.

    :param progress: called with the number of bytes copied so far.
    :param watch: called with each block before the sink gets it.
    :param source_environment: of the source, which otherwise gets that of every program of a server.
    :raises JobCancelled: *cancelled* returned True; both programs have been killed.
    """
    with tempfile.TemporaryFile() as source_errors, tempfile.TemporaryFile() as sink_errors:
        left = subprocess.Popen(
            source,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=source_errors,
            env=source_environment or program_environment(),
        )
        try:
            right = subprocess.Popen(
                sink,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=sink_errors,
                env=program_environment(),
            )
        except BaseException:
            _end(left)
            raise
        with _killed_at_exit(left, right), _watched(left, right, cancelled):
            copied, tail, complete = _pump(left, right, progress, watch)
            source_status = left.wait()
            if source_status or not complete or cancelled():
                # An incomplete stream must not look like a complete one.
                right.kill()
            with contextlib.suppress(BrokenPipeError):
                _input(right).close()
            sink_status = right.wait()
        if cancelled():
            raise JobCancelled("The seed was cancelled.")
        return Piped(source_status, _text(source_errors), sink_status, _text(sink_errors), copied, tail)


def _pump(
    left: subprocess.Popen[bytes],
    right: subprocess.Popen[bytes],
    progress: Callable[[int], None],
    watch: Callable[[bytes], None],
) -> tuple[int, bytes, bool]:
    """Copy from *left* to *right*, and return the number of bytes, the last of them, and whether *right* took all."""
    assert left.stdout is not None
    source, sink = left.stdout.fileno(), _input(right).fileno()
    for descriptor in (source, sink):
        with contextlib.suppress(OSError):  # a larger pipe is only faster
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _BLOCK_BYTES)
    copied, tail = 0, b""
    while block := os.read(source, _BLOCK_BYTES):
        watch(block)
        tail = (tail + block)[-_KEPT_BYTES:]
        try:
            _write(sink, block)
        except BrokenPipeError:
            left.kill()
            return copied, tail, False
        copied += len(block)
        progress(copied)
    return copied, tail, True


def _write(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def _watched(
    left: subprocess.Popen[bytes], right: subprocess.Popen[bytes], cancelled: Callable[[], bool]
) -> Iterator[None]:
    """Kill both programs on cancellation, even while :func:`_pump` is blocked."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            if cancelled():
                left.kill()
                right.kill()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def _killed_at_exit(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _input(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def _text(file: IO[bytes]) -> str:
    size = file.seek(0, 2)
    file.seek(max(0, size - _KEPT_BYTES))
    return file.read().decode("utf-8", "replace")
