"""How many cores this process may use: what it may run on, and what its control groups let it consume."""

from __future__ import annotations

import os
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def usable_cores(membership: Path = _MEMBERSHIP, control_groups: Path = _CONTROL_GROUPS) -> int:
    """:param membership: which control group this process is in.
    :param control_groups: where those of version 2 are mounted.
    :returns: whole cores, at least one.

    Source: Linux' "Control Group v2", "cpu.max"; sched_setaffinity(2).
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(int(quota) for quota in _quotas(membership, control_groups))]))


def _quotas(membership: Path, root: Path) -> list[float]:
    """:returns: cores' worth of time that the process's group, and each above it, may consume; none is no limit."""
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    group, found = root / own.strip("/"), []
    while group.is_relative_to(root):
        try:
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        except (OSError, ValueError):
            # The topmost group of a host has no limit, and no such file.
            quota, period = "max", "1"
        if quota != "max":
            found.append(int(quota) / int(period))
        group = group.parent
    return found
