"""A cycle's later snapshots: after a restore, with 1 % of the pages changed, in one place or all over, or with none."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from bench import ours
from bench.data import PAGE
from bench.measure import alternate, cat, digests, files_of, require_same, shell, size_of
from bench.peers import Restic
from bench.rows import Row, speed
from bench.settings import Bench
from bench.worker import Answer

IDS = (
    "contiguous/first",
    "contiguous/restic",
    "random/first",
    "random/cat",
    "random/stored-bytes",
    "unchanged/read-bytes",
    "unchanged/cat",
)
_SHARE = 0.01
_SETTLE_S = 1.0
#: bytes of a page that an update changes: its LSN and checksums, and a row or two
_PAGE_LSN, _TRAILER = 16, 8
_ROW_BYTES = 190

Change = Callable[[Path, random.Random], None]


def rows(bench: Bench) -> list[Row]:
    """Restore, change, snapshot; each turn on a node directory of its own, and new pages."""
    source = bench.data.large()
    size, expected = size_of(source), digests(source)
    cycles = _Cycles(bench, source, expected)
    measures: dict[str, Callable[[], float]] = {
        "first": cycles.first,
        "contiguous": lambda: cycles.later("contiguous", change_in_one_place),
        "random": lambda: cycles.later("random", change_all_over),
        "unchanged": lambda: cycles.later("unchanged", lambda tree, dice: None),
        "restic, contiguous": cycles.restic,
        "cat": lambda: cat(source, bench.caches),
    }
    found = bench.keep("changed", alternate(measures, repeat=bench.repeat))
    first, changed, same = (cycles.newest[name] for name in ("first", "random", "unchanged"))
    cycles.discard()
    stored, whole = changed.sizes["stored_bytes"], first.sizes["stored_bytes"]
    return [
        speed("contiguous/first", size, found["contiguous"], found["first"], 8.0),
        speed("contiguous/restic", size, found["contiguous"], found["restic, contiguous"], 3.0),
        speed("random/first", size, found["random"], found["first"], 4.0),
        speed("random/cat", size, found["random"], found["cat"], 0.75),
        Row("random/stored-bytes", stored / 1e6, whole / 1e6, "MB", stored / whole, 0.03, at_most=True),
        Row(
            "unchanged/read-bytes",
            same.read_bytes / 1e6,
            size / 1e6,
            "MB",
            same.read_bytes / size,
            0.02,
            at_most=True,
        ),
        speed("unchanged/cat", size, found["unchanged"], found["cat"], 1.0),
    ]


def change_in_one_place(tree: Path, dice: random.Random) -> None:
    """Change 1 % of the pages, one after another, in the largest files."""
    files = sorted(_tablespaces(tree), key=lambda path: -path.stat().st_size)
    left = _pages(tree)
    while left:
        path = files.pop(0)
        pages = path.stat().st_size // PAGE
        begin = dice.randrange(max(1, pages - left))
        chosen = range(begin, min(begin + left, pages))
        _change(path, chosen, dice)
        left -= len(chosen)


def change_all_over(tree: Path, dice: random.Random) -> None:
    """Change 1 % of the pages, anywhere in the tablespaces."""
    places = [(path, page) for path in _tablespaces(tree) for page in range(path.stat().st_size // PAGE)]
    by_path: dict[Path, list[int]] = {}
    for path, page in dice.sample(places, _pages(tree)):
        by_path.setdefault(path, []).append(page)
    for path, pages in by_path.items():
        _change(path, sorted(pages), dice)


def _tablespaces(tree: Path) -> list[Path]:
    return [path for path in files_of(tree) if path.suffix == ".ibd" and path.parent.name == "sbtest"]


def _pages(tree: Path) -> int:
    return max(1, int(sum(path.stat().st_size for path in _tablespaces(tree)) // PAGE * _SHARE))


def _change(path: Path, pages: range | list[int], dice: random.Random) -> None:
    """Write what an update of a row leaves on each page; only the tree's bytes matter from here on."""
    with path.open("r+b") as file:
        for page in pages:
            for offset, count in (
                (0, 4),
                (_PAGE_LSN, 8),
                (dice.randrange(200, PAGE - _ROW_BYTES - _TRAILER), _ROW_BYTES),
                (PAGE - _TRAILER, _TRAILER),
            ):
                file.seek(page * PAGE + offset)
                file.write(dice.randbytes(count))


class _Cycles:
    """One repository with a first backup, and what is measured on top of it.

    :ivar newest: the newest answer by the name of the reading.
    """

    def __init__(self, bench: Bench, source: Path, expected: dict[str, str]) -> None:
        self._bench, self._source, self._expected = bench, source, expected
        self._dice = random.Random(1)
        self._repository = bench.new_dir("repository")
        self._base = ours.snapshot(self._repository, source).backup_id
        self._tree = bench.new_dir("restic-tree")
        shell(f"cp -a {source} {self._tree}")
        self._restic_dir = bench.new_dir("restic")
        self._restic = Restic(bench.restic, self._restic_dir, bench.caches)
        self._restic.backup(self._tree)
        self.newest: dict[str, Answer] = {}

    def first(self) -> float:
        """Return seconds for a first snapshot, proven like the later ones."""
        repository = self._bench.new_dir("repository")
        self._bench.caches.drop()
        answer = self.newest["first"] = ours.snapshot(repository, self._source)
        self._bench.discard(repository)
        return answer.seconds

    def later(self, name: str, change: Change) -> float:
        """Return seconds for the snapshot of a restored and changed directory."""
        node = self._bench.new_dir("node")
        tree, back = node / "data", node / "back"
        node.mkdir()
        ours.restore(self._repository, self._base, tree, node=node)
        # What is written from here on has other time stamps, as a node sees to before it starts its server.
        time.sleep(_SETTLE_S)
        change(tree, self._dice)
        self._bench.caches.drop()
        answer = self.newest[name] = ours.snapshot(self._repository, tree, node=node)
        self._bench.note(f"{name}, bytes", {**answer.sizes, "read": answer.read_bytes})
        ours.restore(self._repository, answer.backup_id, back)
        require_same(digests(tree), digests(back), f"our copy after: {name}")
        self._bench.discard(node)
        return answer.seconds

    def restic(self) -> float:
        """Return seconds for restic's next backup of the same directory after the same kind of change."""
        change_in_one_place(self._tree, self._dice)
        return self._restic.backup(self._tree)

    def discard(self) -> None:
        self._bench.discard(self._repository, self._tree, self._restic_dir)
