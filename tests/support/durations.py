"""How long each test took, with its fixtures: as a file that two commits can be compared by."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path

import pytest


class Durations:
    """A plugin of pytest's; with xdist it hears of all processes' tests.

    :param path: of the JSON file: ``{"seconds": wall clock, "tests": {id: seconds}}``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = time.monotonic()
        self._tests: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tests[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        tests = {name: round(seconds, 3) for name, seconds in sorted(self._tests.items())}
        result = {"seconds": round(time.monotonic() - self._started, 1), "tests": tests}
        self._path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
