"""Speed limit and progress of long transfers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: called with (done bytes, total bytes), from one thread at a time
ProgressFn = Callable[[int, int], None]


def no_progress(done_bytes: int, total_bytes: int) -> None:
    """Ignore progress; a :data:`ProgressFn` that does nothing."""


def never_cancelled() -> bool:
    """Return False; for work that cannot be cancelled."""
    return False


class RateLimit:
    """A token bucket shared by all threads of a transfer.

    :param bytes_per_s: None means no limit.
    """

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def take(self, count: int) -> None:
        """Wait until *count* more bytes may pass."""
        if not self._bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + count / self._bytes_per_s
            wait_s = start - now
        if wait_s > 0:
            time.sleep(wait_s)
