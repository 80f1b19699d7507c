"""The most memory that a snapshot and a restore ever have, at two sizes of database."""

from __future__ import annotations

from pathlib import Path

from bench import ours
from bench.measure import digests, require_same, size_of
from bench.rows import Row
from bench.settings import Bench

IDS = ("memory/large", "memory/five-times", "memory/growth")
_FACTOR = 5
_LIMIT_MB = 300.0
_GROWTH = 1.2


def rows(bench: Bench) -> list[Row]:
    """``VmHWM`` of the process that does it, the larger one of snapshot and restore."""
    peaks = [_peak(bench, bench.data.large()), _peak(bench, bench.data.larger(_FACTOR))]
    small, large = (peak / 1e6 for peak in peaks)
    return [
        Row("memory/large", small, _LIMIT_MB, "MB", small / _LIMIT_MB, 1.0, at_most=True),
        Row("memory/five-times", large, _LIMIT_MB, "MB", large / _LIMIT_MB, 1.0, at_most=True),
        Row(
            "memory/growth", large, small, "MB", max(large, small) / min(large, small), _GROWTH, at_most=True
        ),
    ]


def _peak(bench: Bench, source: Path) -> float:
    repository, target = bench.new_dir("repository"), bench.new_dir("restored")
    bench.caches.drop()
    taken = ours.snapshot(repository, source)
    put_back = ours.restore(repository, taken.backup_id, target)
    require_same(digests(source), digests(target), "our restored copy")
    bench.note(
        f"peak memory, {size_of(source) / 1e6:.0f} MB",
        {"snapshot": taken.peak_bytes, "restore": put_back.peak_bytes},
    )
    bench.discard(repository, target)
    return float(max(taken.peak_bytes, put_back.peak_bytes))
