"""How often to ask for a job's state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

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
