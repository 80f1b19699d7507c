"""Pause the comparison while the primary is busy."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.jobs.compare.ranges import fetch_theirs

_LOOK_EVERY_S = 0.5


class Throttle:
    """Throttle of the comparison by the number of the primary's running threads.

    :param primary: connection that the comparison reads with, which counts as a running thread itself.
    :param limit: most running threads without a pause; None for no limit.
    :ivar paused_s: total length of all pauses, in seconds.
    """

    def __init__(self, primary: Conn, limit: int | None) -> None:
        self._primary = primary
        self._limit = limit
        self.paused_s = 0.0

    def wait(self, stop: Callable[[], bool]) -> None:
        """Wait while the primary is busy.

        :param stop: called every half second; true ends the wait although the primary is busy.
        """
        while self._busy() and not stop():
            time.sleep(_LOOK_EVERY_S)
            self.paused_s += _LOOK_EVERY_S

    def _busy(self) -> bool:
        if self._limit is None:
            return False
        ((_, running),) = fetch_theirs(self._primary, "SHOW GLOBAL STATUS LIKE 'Threads_running'", [])
        return int(running) > self._limit
