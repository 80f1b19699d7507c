"""A job's process gives the memory of chunks back."""

from __future__ import annotations

import subprocess
import sys

_HOLES = """
import sys
from pathlib import Path
from airflow_restore_replay.core.system.malloc import give_large_blocks_back

def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "set":
    give_large_blocks_back()
del (first := bytearray(b"x" * 4 * 2**20))[:]
before, large, small = resident(), [], []
for _ in range(100):
    large.append(b"x" * (2 * 2**20 + len(large)))
    small.append(b"x" * 100_000)
large.clear()
print(resident() - before)
"""


def kept(setting: str) -> int:
    """Return bytes that are still resident after 200 MiB of large blocks among small ones were freed."""
    done = subprocess.run([sys.executable, "-c", _HOLES, setting], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_large_blocks_go_back_to_the_system() -> None:
    assert kept("set") < 50 * 2**20


def test_without_the_setting_they_stay() -> None:
    """Or the setting could be deleted."""
    assert kept("not set") > 100 * 2**20
