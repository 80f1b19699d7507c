"""What a process may use of a machine: its affinity, and its control groups' limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_restore_replay.core.jobs.context import default_appliers
from airflow_restore_replay.core.system.cgroups import usable_cores

HERE = len(os.sched_getaffinity(0))


def groups(root: Path, own: str, limits: dict[str, str]) -> tuple[Path, Path]:
    membership = root / "membership"
    membership.write_text(f"9:name=systemd:/x\n0::{own}\n")
    mounted = root / "cgroup"
    (mounted / own.strip("/")).mkdir(parents=True, exist_ok=True)
    for group, limit in limits.items():
        (mounted / group / "cpu.max").write_text(limit)
    return membership, mounted


@pytest.mark.parametrize(
    ("own", "limits", "cores"),
    [
        ("/", {}, HERE),
        ("/", {".": "max 100000\n"}, HERE),
        ("/", {".": "100000 100000\n"}, 1),
        ("/a/b", {"a/b": "max 100000\n", "a": "150000 100000\n"}, 1),
        ("/a/b", {"a/b": "20000 100000\n"}, 1),
        ("/a", {"a": "6400000 100000\n"}, HERE),
        ("/a", {"a": "nonsense\n"}, HERE),
    ],
)
def test_the_least_limit_counts(tmp_path: Path, own: str, limits: dict[str, str], cores: int) -> None:
    assert usable_cores(*groups(tmp_path, own, limits)) == cores


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "no", tmp_path / "no") == HERE


def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from airflow_restore_replay.core.system.cgroups import usable_cores; raise SystemExit(usable_cores())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1


@pytest.mark.parametrize(("cores", "appliers"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 7), (16, 15), (96, 16)])
def test_one_core_is_left_to_what_feeds_the_appliers(cores: int, appliers: int) -> None:
    assert default_appliers(cores) == appliers
