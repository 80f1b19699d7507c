"""One run of the benchmark: sizes, places, repetitions."""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from bench.data import Data
from bench.measure import Caches, medians, say


@dataclass
class Bench:
    """Settings of one run of the measurements.

    :param data: data sets.
    :param work: this run's own directory, on the same disk; removed afterwards.
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
        """Return a directory name that is not in use."""
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

    def describe_machine(self) -> None:
        """Note what the figures depend on: machine, programs, sizes."""
        memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
        self.facts["machine"] = {
            "cores": os.cpu_count(),
            "memory": memory.split(":")[1].strip(),
            "kernel": platform.release(),
            "mariadb-backup": _version("mariadb-backup", "--version"),
            "restic": _version(self.restic, "version"),
            "zstd": _version("zstd", "--version"),
            "size_bytes": self.data.size_bytes,
            "repeat": self.repeat,
            "caches_dropped": self.caches.cold,
        }

    def write_details(self, path: Path) -> None:
        """Put everything measured into *path*, beside what earlier runs of other rows left there."""
        known = json.loads(path.read_text()) if path.exists() else {"facts": {}, "readings_s": {}}
        known["facts"] |= self.facts
        known["readings_s"] |= self.readings
        path.write_text(json.dumps(known, indent=1) + "\n")


def _version(*command: str) -> str:
    """Return the first line that the program says about itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "?")
