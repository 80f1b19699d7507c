"""Many small tables: how many objects they become, and how long they take beside the same bytes in large files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench import ours
from bench.measure import alternate, cat, digests, files_of, require_same, size_of
from bench.rows import Row, speed
from bench.settings import Bench

IDS = ("small-tables/objects", "small-tables/time", "small-tables/cat")
_TABLES = 20_000
_AT_BYTES = 2_000_000_000
_OBJECT_BYTES = 2_000_000


def rows(bench: Bench) -> list[Row]:
    """20 000 tables at ``SIZE=2g``, and fewer at smaller sizes."""
    count = max(100, _TABLES * min(bench.data.size_bytes, _AT_BYTES) // _AT_BYTES)
    source = bench.data.small_tables(count)
    joined = bench.data.joined(source)
    objects: list[int] = []
    measures: dict[str, Callable[[], float]] = {
        "small files": lambda: _snapshot(bench, source, objects),
        "large files": lambda: _snapshot(bench, joined, []),
        "cat of small files": lambda: cat(source, bench.caches),
        "cat of large files": lambda: cat(joined, bench.caches),
    }
    found = bench.keep("small files", alternate(measures, repeat=bench.repeat))
    size = size_of(source)
    allowed = size / _OBJECT_BYTES
    times = found["small files"] / found["large files"]
    return [
        Row(
            "small-tables/objects", objects[-1], allowed, "objects", objects[-1] / allowed, 1.0, at_most=True
        ),
        Row("small-tables/time", found["small files"], found["large files"], "s", times, 2.0, at_most=True),
        speed("small-tables/cat", size, found["small files"], found["cat of small files"], 0.75),
    ]


def _snapshot(bench: Bench, source: Path, objects: list[int]) -> float:
    repository, target = bench.new_dir("repository"), bench.new_dir("restored")
    bench.caches.drop()
    taken = ours.snapshot(repository, source)
    objects.append(len(files_of(repository)))
    ours.restore(repository, taken.backup_id, target)
    require_same(digests(source), digests(target), "our restored copy")
    bench.discard(repository, target)
    return taken.seconds
