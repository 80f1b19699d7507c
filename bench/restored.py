"""Restores, synced: against the tools of today, and against the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import ours
from bench.measure import alternate, digests, files_of, require_same, shell, size_of, timed
from bench.peers import MariaDbBackup, Restic
from bench.rows import Row, speed
from bench.settings import Bench

IDS = ("restore/mariadb-backup", "restore/restic", "restore/disk")
_DISK_BAR = 0.8


def rows(bench: Bench) -> list[Row]:
    """Restore the large data set; each turn also writes the same bytes with ``dd``."""
    source = bench.data.large()
    size, expected = size_of(source), digests(source)
    peer = MariaDbBackup(source, bench.new_dir("server"), bench.caches)
    restic_dir, archive = bench.new_dir("restic"), bench.new_dir("stream") / "backup.zst"
    restic = Restic(bench.restic, restic_dir, bench.caches)
    try:
        peer.stream(archive)
        restic.backup(source)
        repository = bench.new_dir("repository")
        backup_id = ours.snapshot(repository, source).backup_id
        measures: dict[str, Callable[[], float]] = {
            "ours": lambda: _ours(bench, repository, backup_id, expected),
            "dd": lambda: _write_like(bench, source),
            "mariadb-backup": lambda: _prepared(bench, peer, archive),
            "restic": lambda: _restic(bench, restic, expected),
        }
        found = bench.keep("restore", alternate(measures, repeat=bench.repeat))
    finally:
        peer.stop()
    bench.discard(repository, restic_dir, archive.parent)
    disk = speed("restore/disk", size, found["ours"], found["dd"], _DISK_BAR)
    excused = "disk" if disk.ok else ""
    ours_s = found["ours"]
    return [
        _or_disk(speed("restore/mariadb-backup", size, ours_s, found["mariadb-backup"], 5.0), excused),
        _or_disk(speed("restore/restic", size, ours_s, found["restic"], 3.0), excused),
        disk,
    ]


def _or_disk(row: Row, excused: str) -> Row:
    return row if row.ok or not excused else replace(row, excused=excused)


def _ours(bench: Bench, repository: Path, backup_id: str, expected: dict[str, str]) -> float:
    target = bench.new_dir("restored")
    bench.caches.drop()
    seconds = ours.restore(repository, backup_id, target).seconds
    require_same(expected, digests(target), "our restored copy")
    bench.discard(target)
    return seconds


def _write_like(bench: Bench, source: Path) -> float:
    """Return seconds to write the same bytes, which are in memory, and sync them; zeros stay holes, as ours do."""
    files = files_of(bench.data.joined(source))
    target = bench.new_dir("dd")
    target.mkdir()
    bench.caches.drop()
    shell(f"cat {' '.join(map(str, files))} > /dev/null")
    commands = [f"dd if={path} of={target / path.name} bs=4M conv=sparse,fsync status=none" for path in files]
    seconds = timed(lambda: shell(" && ".join(commands)))
    bench.discard(target)
    return seconds


def _prepared(bench: Bench, peer: MariaDbBackup, archive: Path) -> float:
    target = bench.new_dir("prepared")
    seconds = peer.restore(archive, target)
    bench.discard(target)
    return seconds


def _restic(bench: Bench, restic: Restic, expected: dict[str, str]) -> float:
    target = bench.new_dir("restored-restic")
    seconds = restic.restore(target)
    require_same(expected, digests(target), "restic's restored copy")
    bench.discard(target)
    return seconds
