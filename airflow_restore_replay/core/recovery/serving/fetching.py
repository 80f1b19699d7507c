"""Fetch archived binary logs ahead of their replay, in a thread, and never more than a bounded amount of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.reach import Leg
from airflow_restore_replay.core.errors import JobCancelled


class Fetching:
    """The files of a route, fetched in its order.

    :param directory: for files that are fetched and not taken yet.
    :param most_ahead_bytes: of those files, unless it is one file that is larger.
    """

    def __init__(
        self,
        archive: Archive,
        legs: Sequence[Leg],
        directory: Path,
        *,
        most_ahead_bytes: int,
    ) -> None:
        self.fetched_bytes = 0
        self._archive = archive
        self._files = [(number, log) for number, leg in enumerate(legs) for log in leg.logs]
        self._directory = directory
        self._most_ahead_bytes = most_ahead_bytes
        self._ready: list[tuple[int, ArchivedLog, Path]] = []
        self._taken = 0
        self._failure: BaseException | None = None
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="fetch-logs", daemon=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        self._thread.start()

    def take(self, leg: int, *, timeout_s: float) -> list[tuple[ArchivedLog, Path]]:
        """Return the next files of a leg that are there; wait for one if there is none.

        :returns: nothing if none arrived in time.
        :raises LogMissing, LogCorrupt, StoreFailed: the next file cannot be fetched.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._failure, timeout=timeout_s)
            if not self._ready and self._failure:
                raise self._failure
            found = [(log, path) for number, log, path in self._ready if number == leg]
            del self._ready[: len(found)]
            self._taken += len(found)
            self._changed.notify_all()
        return found

    def more(self, leg: int) -> bool:
        """Return whether files of a leg were not taken yet."""
        return any(number == leg for number, _ in self._files[self._taken :])

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            for place, (number, log) in enumerate(self._files):
                self._await_room(log)
                path = self._directory / f"{place:06d}"
                self._archive.write_log(log, path, self._arrived)
                with self._changed:
                    self._ready.append((number, log, path))
                    self._changed.notify_all()
        except BaseException as exc:
            with self._changed:
                self._failure = exc
                self._changed.notify_all()

    def _await_room(self, log: ArchivedLog) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._ahead(log) <= self._most_ahead_bytes)
        self._arrived(0)

    def _ahead(self, log: ArchivedLog) -> int:
        waiting = sum(ready.size_bytes for _, ready, _ in self._ready)
        return waiting + log.size_bytes if waiting else 0

    def _arrived(self, size_bytes: int) -> None:
        self.fetched_bytes += size_bytes
        if self._stopped:
            raise JobCancelled("The restore has ended.")
