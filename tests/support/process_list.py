"""What anybody on the host sees of everybody's processes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.support.rig import SECRETS


class ProcessListWatch:
    """Looks at the arguments of every process, all the time."""

    def __init__(self, secrets: tuple[str, ...] = SECRETS) -> None:
        self._secrets = [s.encode() for s in secrets]
        self.leaks: set[str] = set()
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> ProcessListWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = path.read_bytes()
                except OSError:
                    continue
                if any(s in words for s in self._secrets):
                    self.leaks.add(words.decode(errors="replace"))
            self.looks += 1
            time.sleep(0.01)
