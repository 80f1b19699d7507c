"""Walk a data directory: the files of a snapshot, in the order of its file list."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from airflow_restore_replay.core.errors import InternalError, UnsupportedTables
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import ChunkRef
from airflow_restore_replay.core.repository.objects.bundles import Slot


@dataclass
class Source:
    """A file or directory as found by the walk.

    :param path: path to open it by.
    :param relative: path relative to the data directory.
    :param chunks: references, or slots of references that are not known yet.
    """

    path: str
    relative: str
    info: os.stat_result
    chunks: list[ChunkRef | Slot] = field(default_factory=list)
    list: str = ""

    @property
    def directory(self) -> bool:
        return stat.S_ISDIR(self.info.st_mode)

    @property
    def entry(self) -> FileEntry:
        """Return the entry for the file list; it is complete once all bundles are stored."""
        return FileEntry(
            path=self.relative,
            size_bytes=0 if self.directory else self.info.st_size,
            mode=stat.S_IMODE(self.info.st_mode) & 0o777,
            directory=self.directory,
            chunks=[c.ref if isinstance(c, Slot) else c for c in self.chunks],
        )


def matches(relative: str, patterns: Sequence[str], *, directory: bool = False) -> bool:
    """Return whether a pattern matches *relative* as a whole, component by component."""
    parts = relative.split("/")
    possible = _by_depth(tuple(patterns), directory).get(len(parts), ())
    return any(all(map(fnmatchcase, parts, globs)) for globs in possible)


@functools.lru_cache
def _by_depth(patterns: tuple[str, ...], directory: bool) -> dict[int, list[list[str]]]:
    """Return number of components → components of each pattern, for directories or for files.

    The two are separate, because a file pattern such as "core" must not match a schema of that name.
    """
    found: dict[int, list[list[str]]] = {}
    for pattern in patterns:
        if pattern.endswith("/") == directory:
            globs = pattern.rstrip("/").split("/")
            found.setdefault(len(globs), []).append(globs)
    return found


def walk(root: Path, excluded: Sequence[str], below: str = "") -> Iterator[Source]:
    """Yield files and directories, sorted within each directory, parents first.

    :param excluded: patterns of the files and directories to leave out; see :func:`matches`.
    :raises UnsupportedTables: there is a symbolic link or special file; the message names it.
    """
    with os.scandir(root / below) as entries:
        found = sorted(entries, key=lambda e: e.name)
    for one in found:
        relative = f"{below}/{one.name}" if below else one.name
        source = Source(one.path, relative, os.lstat(one.path))
        if matches(relative, excluded, directory=source.directory):
            continue
        _refuse_special(source)
        yield source
        if source.directory:
            yield from walk(root, excluded, relative)


def _refuse_special(source: Source) -> None:
    mode = source.info.st_mode
    try:
        source.relative.encode("utf-8")
    except UnicodeEncodeError:
        raise UnsupportedTables(f"The file name {source.relative!r} is not UTF-8.") from None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a directory"
    raise UnsupportedTables(
        f"{source.relative} in the data directory is {kind}; a snapshot would lose its content.",
        hint="Move tables with DATA DIRECTORY into the data directory, or exclude the file.",
        evidence={"file": source.relative},
    )


def refuse_changes(root: Path, sources: Sequence[Source], excluded: Sequence[str]) -> None:
    """Walk again, and raise if a file changed: the copy of a changing directory is not the copy of any state.

    :raises InternalError: a file appeared, was removed, or was written to.
    """
    before = {s.relative: s.info for s in sources}
    after = {s.relative: s.info for s in walk(root, excluded)}
    for relative in sorted(before.keys() ^ after.keys()):
        raise changed(relative, "it was removed" if relative in before else "it appeared")
    for relative, info in before.items():
        now = after[relative]
        if stat.S_ISREG(info.st_mode) and (info.st_size, info.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
            raise changed(relative, f"{info.st_size} bytes became {now.st_size}, or it was written to")


def changed(relative: str, how: str) -> InternalError:
    """Return the error about a file that changed during the snapshot."""
    return InternalError(
        f"{relative} changed while it was copied: {how}.",
        hint="A server still runs on the data directory; nothing was published.",
        evidence={"file": relative},
    )
