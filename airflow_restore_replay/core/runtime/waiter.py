"""Wait for a job by asking for its state, in a thread or in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus, describe_progress

#: progress reaches a task's log this often
PROGRESS_INTERVAL_S = 15.0
_SHORTEST_S, _LONGEST_S = 0.05, 5.0


class Pace:
    """Intervals between status queries: short at first, then longer as the job grows older.

    A pause is at least twice as long as the last query took, up to a maximum. The reason is that a remote node starts a
    program for each query.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._asked_s = 0.0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Measure how long a query takes."""
        begun = time.monotonic()
        yield
        self._asked_s = time.monotonic() - begun

    def pause_s(self) -> float:
        """Return the seconds until the next query."""
        age_s = time.monotonic() - self._started
        return min(max(_SHORTEST_S, age_s / 40, 2 * self._asked_s), _LONGEST_S)


class ProgressLines:
    """Observer of a running job's states that passes a line on every :data:`PROGRESS_INTERVAL_S`.

    :param tell: called with the line.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told = time.monotonic()

    def __call__(self, state: JobState) -> None:
        now = time.monotonic()
        if state.status is JobStatus.RUNNING and now - self._told >= PROGRESS_INTERVAL_S:
            self._told = now
            self._tell(f"{state.job}: {describe_progress(state.progress)}")


class Waiter:
    """Wait until a job has ended.

    :param ask: returns the job's state.
    :param on_state: called with every state, also with the last one.
    """

    def __init__(self, ask: Callable[[], JobState], on_state: Callable[[JobState], None]) -> None:
        self._ask = ask
        self._on_state = on_state
        self._pace = Pace()

    def wait(self, at_most_s: float = float("inf")) -> JobState:
        """Wait in this thread; return the last state, which may be a running one after *at_most_s*."""
        until = time.monotonic() + at_most_s
        while (state := self._asked()).status is JobStatus.RUNNING and time.monotonic() < until:
            time.sleep(self._pace.pause_s())
        return state

    async def wait_async(self) -> JobState:
        """Wait without blocking the event loop: each query has a thread of its own."""
        while (state := await asyncio.to_thread(self._asked)).status is JobStatus.RUNNING:
            await asyncio.sleep(self._pace.pause_s())
        return state

    def _asked(self) -> JobState:
        with self._pace.asking():
            state = self._ask()
        self._on_state(state)
        return state
