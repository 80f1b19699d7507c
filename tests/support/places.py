"""Where tests put their files: in memory where there is room, since servers of tests need no disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from airflow_restore_replay.core.system.filesystem import known_file_system

_MEMORY = Path("/dev/shm")
#: what a run of all tests has in use at once, and then some
_NEEDED_BYTES = 8 * 2**30
#: environment variable that keeps everything on disk
ON_DISK = "RR_TESTS_ON_DISK"


def temporary_root() -> Path:
    """Return the directory for temporary directories of tests; a file system in memory if it has 8 GiB free."""
    fits = known_file_system(_MEMORY) == "tmpfs" and shutil.disk_usage(_MEMORY).free >= _NEEDED_BYTES
    if fits and os.access(_MEMORY, os.W_OK) and not os.environ.get(ON_DISK):
        return _MEMORY
    return Path(tempfile.gettempdir())


def on_disk() -> Path:
    """Return a new directory on a disk, where temporary files outlive a boot."""
    return Path(tempfile.mkdtemp(prefix="rr-on-disk-", dir="/var/tmp"))
