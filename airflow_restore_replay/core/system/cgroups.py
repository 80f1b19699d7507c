"""How many cores this process may use, by its CPU affinity and the CPU limits of its control groups."""

from __future__ import annotations

import os
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def usable_cores(membership: Path = _MEMBERSHIP, control_groups: Path = _CONTROL_GROUPS) -> int:
    """Return how many whole cores this process may use, at least one.

    :param membership: file that names the control group of this process.
    :param control_groups: mount point of control groups version 2.

    Source: Linux' "Control Group v2", "cpu.max"; sched_setaffinity(2).
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(int(quota) for quota in _quotas(membership, control_groups))]))


def _quotas(membership: Path, root: Path) -> list[float]:
    """Return the CPU limits, in cores, of the process's group and of each group above it.

    A group without a limit has no entry.
    """
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
            # The root group of a host has no limit and no cpu.max.
            quota, period = "max", "1"
        if quota != "max":
            found.append(int(quota) / int(period))
        group = group.parent
    return found
