"""Measuring fairly: cold caches for all alike, alternating repetitions, medians, and everything synced."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from blake3 import blake3

_BLOCK = 2**22
_DROP = Path("/proc/sys/vm/drop_caches")


class WrongBytes(Exception):
    """What came back is not what went in: the figures mean nothing."""


def say(text: str) -> None:
    """Tell whoever waits, at once."""
    print(f"bench: {text}", flush=True)


class Caches:
    """The page cache of this machine.

    :ivar cold: whether it can be dropped; told once when it cannot.
    """

    def __init__(self) -> None:
        self.cold = os.access(_DROP, os.W_OK)
        if not self.cold:
            say(f"cannot write {_DROP}: caches are as they are, for all alike")

    def drop(self) -> None:
        """Write back and forget all file contents, if we may."""
        os.sync()
        if self.cold:
            _DROP.write_text("3")


def alternate(measures: Mapping[str, Callable[[], float]], *, repeat: int) -> dict[str, list[float]]:
    """Take each measure in turn, *repeat* times round, so that a drift of the machine hits all alike.

    :param measures: each prepares, untimed, and returns seconds.
    :returns: all readings by name.
    """
    readings: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(repeat):
        for name, measure in measures.items():
            seconds = measure()
            say(f"  {name} [{turn + 1}/{repeat}]: {seconds:.2f} s")
            readings[name].append(seconds)
    return readings


def medians(readings: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in readings.items()}


def timed(action: Callable[[], object]) -> float:
    """Return seconds that *action* took."""
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def shell(command: str, *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
    """Run a bash pipeline; any failing part of it is an error that shows the ends of its output."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{command}: status {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
        )


def cat(root: Path, caches: Caches) -> float:
    """Return seconds to read every file below *root* once, cold, in the order of their names."""
    caches.drop()
    command = f"find {shlex.quote(str(root))} -type f -print0 | LC_ALL=C sort -z | xargs -0 cat > /dev/null"
    return timed(lambda: shell(command))


def sync_tree(root: Path) -> None:
    """fsync every file and directory below *root*: what a peer does not do itself."""
    for path in [root, *root.rglob("*")]:
        if path.is_symlink():
            continue
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def files_of(root: Path) -> list[Path]:
    """Return all regular files, sorted."""
    return sorted(path for path in root.rglob("*") if path.is_file())


def size_of(root: Path) -> int:
    """Return bytes of all files."""
    return sum(path.stat().st_size for path in files_of(root))


def digests(root: Path, *, suffix: str = "") -> dict[str, str]:
    """Return BLAKE3 of each file whose name ends so, by its path."""
    return {
        path.relative_to(root).as_posix(): _digest(path)
        for path in files_of(root)
        if path.name.endswith(suffix)
    }


def require_same(expected: Mapping[str, str], observed: Mapping[str, str], what: str) -> None:
    """Compare two trees.

    :raises WrongBytes: a file is missing, is too many, or differs."""
    if expected != observed:
        wrong = sorted(set(expected.items()) ^ set(observed.items()))
        raise WrongBytes(f"{what}: {len(wrong)} files differ, the first is {wrong[0][0]}")


def _digest(path: Path) -> str:
    hasher = blake3()
    with path.open("rb") as file:
        for block in _blocks(file.fileno()):
            hasher.update(block)
    return hasher.hexdigest()


def _blocks(descriptor: int) -> Iterator[bytes]:
    while block := os.read(descriptor, _BLOCK):
        yield block
