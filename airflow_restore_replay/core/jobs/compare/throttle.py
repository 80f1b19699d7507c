"""The comparison makes way for the primary's own work."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.jobs.compare.ranges import fetch_theirs

_LOOK_EVERY_S = 0.5


class Throttle:
    """:param primary: connection that the comparison reads by; it counts as one that is running.
    :param limit: of running threads; None is no limit.
    :ivar paused_s: how long all waits took.
    """

    def __init__(self, primary: Conn, limit: int | None) -> None:
        self._primary = primary
        self._limit = limit
        self.paused_s = 0.0

    def wait(self, stop: Callable[[], bool]) -> None:
        """Wait while the primary is busy.

        :param stop: asked every half second; true ends the wait all the same.
        """
        while self._busy() and not stop():
            time.sleep(_LOOK_EVERY_S)
            self.paused_s += _LOOK_EVERY_S

    def _busy(self) -> bool:
        if self._limit is None:
            return False
        ((_, running),) = fetch_theirs(self._primary, "SHOW GLOBAL STATUS LIKE 'Threads_running'", [])
        return int(running) > self._limit
