"""How often to ask for a job's state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_SHORTEST_S, _LONGEST_S = 0.05, 5.0


class Pace:
    """Often while a job is young, ever more rarely later, and never so often that asking is all that is done.

    A remote node starts a program for each question.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._asked_s = 0.0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Measure how long a question takes."""
        begun = time.monotonic()
        yield
        self._asked_s = time.monotonic() - begun

    def pause_s(self) -> float:
        """:returns: seconds until the next question."""
        age_s = time.monotonic() - self._started
        return min(max(_SHORTEST_S, age_s / 40, 2 * self._asked_s), _LONGEST_S)
