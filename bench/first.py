"""The first snapshot: its upload, and the proof that what was stored can be read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zstandard

from bench import ours
from bench.measure import alternate, digests, files_of, require_same, size_of, timed
from bench.peers import MariaDbBackup, Restic
from bench.rows import Row, speed
from bench.settings import Bench

IDS = (
    "first-upload/mariadb-backup",
    "first-upload/restic",
    "first-upload/limit",
    "first-proven/mariadb-backup",
    "first-proven/restic-check",
)
_CHUNK = 4 * 2**20


def rows(bench: Bench) -> list[Row]:
    """Snapshot the large data set into an empty repository, and let others do the like."""
    source = bench.data.large()
    size, expected = size_of(source), digests(source)
    peer = MariaDbBackup(source, bench.new_dir("server"), bench.caches)
    try:
        found = bench.keep("first", _measure(bench, source, expected, peer))
    finally:
        peer.stop()
    both = found["restic"] + found["restic check"]
    return [
        speed("first-upload/mariadb-backup", size, found["upload"], found["mariadb-backup"], 2.0),
        speed("first-upload/restic", size, found["upload"], found["restic"], 8.0),
        speed("first-upload/limit", size, found["upload"], found["limit"], 0.75),
        speed("first-proven/mariadb-backup", size, found["proven"], found["mariadb-backup"], 1.3),
        speed("first-proven/restic-check", size, found["proven"], both, 5.0),
    ]


def _measure(
    bench: Bench, source: Path, expected: dict[str, str], peer: MariaDbBackup
) -> dict[str, list[float]]:
    readings: dict[str, list[float]] = {}
    measures: dict[str, Callable[[], float]] = {
        "upload": lambda: _ours(bench, source, expected, prove=False),
        "mariadb-backup": lambda: _stream(bench, peer),
        "proven": lambda: _ours(bench, source, expected, prove=True),
        "limit": lambda: codec_limit(bench, source),
    }
    checks: list[float] = []
    measures["restic"] = lambda: _restic(bench, source, checks)
    readings |= alternate(measures, repeat=bench.repeat)
    return {**readings, "restic check": checks}


def _ours(bench: Bench, source: Path, expected: dict[str, str], *, prove: bool) -> float:
    repository, target = bench.new_dir("repository"), bench.new_dir("restored")
    bench.caches.drop()
    taken = ours.snapshot(repository, source, prove=prove)
    ours.restore(repository, taken.backup_id, target)
    require_same(expected, digests(target), "our restored copy")
    bench.note("first snapshot, stored bytes", taken.sizes["stored_bytes"])
    bench.discard(repository, target)
    return taken.seconds


def _stream(bench: Bench, peer: MariaDbBackup) -> float:
    place = bench.new_dir("stream")
    seconds = peer.stream(place / "backup.zst")
    bench.discard(place)
    return seconds


def _restic(bench: Bench, source: Path, checks: list[float]) -> float:
    place = bench.new_dir("restic")
    restic = Restic(bench.restic, place, bench.caches)
    seconds = restic.backup(source)
    checks.append(restic.check())
    bench.discard(place)
    return seconds


def codec_limit(bench: Bench, source: Path) -> float:
    """Return seconds for reading the same chunks and compressing them in as many threads, for nothing."""
    pieces = [(path, offset) for path in files_of(source) for offset in range(0, path.stat().st_size, _CHUNK)]

    def compress(share: list[tuple[Path, int]]) -> None:
        compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
        for path, offset in share:
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                compressor.compress(file.read(_CHUNK))

    def work() -> None:
        with ThreadPoolExecutor(bench.threads) as pool:
            list(pool.map(compress, [pieces[n :: bench.threads] for n in range(bench.threads)]))

    bench.caches.drop()
    return timed(work)
