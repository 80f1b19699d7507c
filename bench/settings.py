"""One run of the benchmark: sizes, places, repetitions."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from bench.data import Data
from bench.measure import Caches, medians, say


@dataclass
class Bench:
    """:param data: data sets. :param work: this run's own directory, on the same disk; removed afterwards.
    :param restic: the program to compare with.
    :ivar readings: every single reading, for ``details.json``.
    """

    data: Data
    work: Path
    caches: Caches
    repeat: int = 2
    threads: int = 4
    restic: str = "restic"
    readings: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def new_dir(self, name: str) -> Path:
        """:returns: a directory name that is not in use."""
        self.work.mkdir(parents=True, exist_ok=True)
        return self.work / f"{name}-{next(self._numbers)}"

    def discard(self, *paths: Path) -> None:
        """Remove directories of this run."""
        for path in paths:
            assert path.is_relative_to(self.work), path
            shutil.rmtree(path, ignore_errors=True)

    def keep(self, group: str, readings: dict[str, list[float]]) -> dict[str, float]:
        """Remember readings.

        :returns: their medians.
        """
        self.readings.setdefault(group, {}).update(readings)
        return medians(readings)

    def note(self, name: str, value: object) -> None:
        """Remember something beside the rows."""
        say(f"  {name}: {value}")
        self.facts[name] = value

    def details(self) -> str:
        """:returns: everything measured, as JSON."""
        return json.dumps({"facts": self.facts, "readings_s": self.readings}, indent=1) + "\n"
