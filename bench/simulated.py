"""A simulated cluster of 10 TB with 100 backups: ``bench/scale.py``, as rows."""

from __future__ import annotations

from bench.rows import Row
from bench.scale import run
from bench.settings import Bench

IDS = ("simulated/open", "simulated/open-memory", "simulated/plan")
_TERABYTES, _BACKUPS, _CHANGE = 10.0, 100, 0.01
_OPEN_S, _OPEN_MB, _PLAN_S = 5.0, 1000.0, 60.0
_AT_BYTES = 2_000_000_000


def rows(bench: Bench) -> list[Row]:
    """10 TB at ``SIZE=2g``, and less below."""
    share = min(1.0, bench.data.size_bytes / _AT_BYTES)
    root = bench.new_dir("simulated")
    root.mkdir()
    found = {one["id"]: one for one in run(_TERABYTES * share, _BACKUPS, _CHANGE, root)}
    bench.note("simulated", {name: one["what"] for name, one in found.items()})
    bench.discard(root)
    open_s, open_mb = found["open"]["seconds"], found["open"]["peak_bytes"] / 1e6
    plan_s = found["plan"]["seconds"]
    return [
        Row("simulated/open", open_s, _OPEN_S, "s", open_s / _OPEN_S, 1.0, at_most=True),
        Row("simulated/open-memory", open_mb, _OPEN_MB, "MB", open_mb / _OPEN_MB, 1.0, at_most=True),
        Row("simulated/plan", plan_s, _PLAN_S, "s", plan_s / _PLAN_S, 1.0, at_most=True),
    ]
