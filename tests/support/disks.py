"""Small disks, to be filled."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(mount: Path, *, mebibytes: int) -> Iterator[Path]:
    """A tmpfs of that size on *mount*; skips the test, saying so, where it cannot be mounted."""
    mount.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(argv, capture_output=True).returncode != 0:
        pytest.skip("full disks are NOT TESTED here: a small tmpfs needs root and the right to mount")
    try:
        yield mount
    finally:
        subprocess.run(["umount", str(mount)], check=True)
