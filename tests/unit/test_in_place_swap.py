"""The new state of a data directory takes the place of the old one, whenever the process is killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.recovery import in_place
from airflow_restore_replay.core.recovery.target_dir import SCRATCH
from airflow_restore_replay.core.system.beneath import Beneath

GOAL = "--before-gtid 0-1-42"


class Killed(BaseException):
    """Stands for SIGKILL."""


def laid_out(target: Path) -> Path:
    """Make an old state, and return the new one, which is as whole as a stopped node's."""
    shutil.rmtree(target, ignore_errors=True)
    built = target / SCRATCH / "nodes" / "n" / "data"
    for place, content in ((target, "old"), (built, "new")):
        (place / "shop").mkdir(parents=True, mode=0o700)
        (place / "shop" / "orders.ibd").write_text(content)
        (place / "ibdata1").write_text(content)
    (target / "stranger").write_text("old")
    target.chmod(0o700)
    return built


def state_of(target: Path) -> dict[str, str]:
    kept = [p for p in sorted(target.rglob("*")) if p.is_file() and SCRATCH not in p.parts]
    return {str(p.relative_to(target)): p.read_text() for p in kept}


@pytest.mark.parametrize("name", ["rename", "replace", "mkdir", "unlink"])
def test_p12_each_step_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    target, calls, limit = tmp_path / "data", 0, 0
    real = getattr(os, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == limit:
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, counted)
    while calls >= limit:
        built = laid_out(target)
        limit, calls = limit + 1, 0
        for _ in range(2):
            with contextlib.closing(Beneath(target)) as place, contextlib.suppress(Killed):
                if built.exists():
                    in_place.begin(place, GOAL)
                in_place.take_place(place, GOAL, built)
        assert state_of(target) == {"ibdata1": "new", "shop/orders.ibd": "new"}, limit
        assert not [p for p in target.iterdir() if p.name.startswith(".restore") and p.name != SCRATCH]
