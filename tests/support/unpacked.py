"""Servers that this Debian does not have, from tools/unpacked-server."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

_TOOL = Path(__file__).parents[2] / "tools" / "unpacked-server"


def without(name: str) -> bool:
    """Return whether the user excluded *name*."""
    return name in os.environ.get("RR_WITHOUT", "").split(",")


@functools.cache
def programs(name: str) -> str:
    """Return the directory of a server's programs, which are fetched if they are not here yet.

    If they are not available, that is a failure; only ``RR_WITHOUT`` with the name makes it a skip.

    :param name: name in the tool's list.
    """
    if without(name):
        import pytest  # the demo runs where there is none

        pytest.skip(f"RR_WITHOUT={name}")
    done = subprocess.run([str(_TOOL), name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name} cannot be had:\n{done.stderr}"
    return done.stdout.strip()
