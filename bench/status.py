"""How long `restore-replay status` needs for many clusters: ``python -m bench.status [clusters] [rounds]``.

Each cluster has a repository in a directory with the records of three cycles, and each round is a fresh process, as
from a shell. Prints the time of each round, and the mean of a round's CPU seconds.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from tests.support.fleets import make_fleet
from tests.support.places import temporary_root

_AGES_H = (50, 26, 2)


def measure(root: Path, rounds: int) -> tuple[list[float], float]:
    """Return the seconds of each round, and the mean CPU seconds of one."""
    command = [sys.executable, "-m", "airflow_restore_replay.cli.main", "status"]
    taken, before = [], _cpu_s()
    for _ in range(rounds):
        started = time.monotonic()
        subprocess.run(
            [*command, "--config", str(root / "clusters.yaml")],
            stdout=subprocess.DEVNULL,
            check=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        taken.append(round(time.monotonic() - started, 2))
    return taken, round((_cpu_s() - before) / rounds, 2)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(clusters: int = 1000, rounds: int = 3) -> None:
    with tempfile.TemporaryDirectory(dir=temporary_root()) as directory:
        for member in make_fleet(Path(directory), [f"c{n:05d}" for n in range(clusters)]).values():
            for age_h in _AGES_H:
                member.cycle(timedelta(hours=age_h))
        taken, cpu_s = measure(Path(directory), rounds)
    print(f"{clusters} clusters: {', '.join(f'{seconds} s' for seconds in taken)}; {cpu_s} s of CPU")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
