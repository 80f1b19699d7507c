"""Copy a cleanly stopped data directory into the repository."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from airflow_restore_replay.core.errors import InternalError, UnsupportedTables
from airflow_restore_replay.core.repository.chunks import CHUNK_SIZE_BYTES, ChunkStore, StoredChunk
from airflow_restore_replay.core.repository.limits import ProgressFn, RateLimit, never_cancelled, no_progress
from airflow_restore_replay.core.repository.parallel import run_bounded
from airflow_restore_replay.core.repository.records import ChunkRef, FileEntry, Sizes


@dataclass
class _Source:
    """A file or directory as the walk found it."""

    path: Path
    relative: str
    info: os.stat_result
    chunks: list[ChunkRef] = field(default_factory=list)

    @property
    def directory(self) -> bool:
        return stat.S_ISDIR(self.info.st_mode)

    @property
    def entry(self) -> FileEntry:
        return FileEntry(
            path=self.relative,
            size_bytes=0 if self.directory else self.info.st_size,
            mode=stat.S_IMODE(self.info.st_mode) & 0o777,
            directory=self.directory,
            chunks=self.chunks,
        )


@dataclass(frozen=True)
class _Piece:
    source: _Source
    index: int
    size_bytes: int


@dataclass
class _Tally:
    """:param known: references that need no second look in this run."""

    known: set[str]
    new_bytes: int = 0
    reused_bytes: int = 0
    zero_bytes: int = 0
    stored_bytes: int = 0
    new_chunks: int = 0
    done_bytes: int = 0

    def add(self, piece: _Piece, stored: StoredChunk) -> None:
        self.done_bytes += piece.size_bytes
        self.stored_bytes += stored.stored_bytes
        if stored.ref is None:
            self.zero_bytes += piece.size_bytes
        elif stored.new:
            self.new_bytes += piece.size_bytes
            self.new_chunks += 1
        else:
            self.reused_bytes += piece.size_bytes
        if stored.ref is not None:
            self.known.add(stored.ref)


def snapshot_tree(
    chunks: ChunkStore,
    root: Path,
    *,
    excluded: Sequence[str] = (),
    verified: Set[str] = frozenset(),
    threads: int = 4,
    rate_limit: RateLimit | None = None,
    progress: ProgressFn = no_progress,
    cancelled: Callable[[], bool] = never_cancelled,
) -> tuple[list[FileEntry], Sizes]:
    """Store every file below *root*; new chunks are read back before this returns.

    :param excluded: shell patterns of paths relative to *root*; ``*`` does not cross ``/``. Only a pattern
        that ends in ``/`` excludes directories, with all that is below.
    :param verified: chunk references that this run decoded from the store; only they are reused unread.
    :returns: entries sorted by path, and what was read and stored.
    :raises UnsupportedTables: a symbolic link or special file, by name.
    :raises InternalError: a file changed meanwhile: something still writes.
    """
    chunks.avoid_condemned()
    sources = list(_walk(root, "", excluded))
    files = [s for s in sources if not s.directory]
    total_bytes = sum(s.info.st_size for s in files)
    tally = _Tally(known=set(verified))
    limit = rate_limit or RateLimit(None)

    def store(piece: _Piece) -> StoredChunk:
        limit.take(piece.size_bytes)
        return chunks.ensure(_read_piece(piece), tally.known)

    for source in files:
        source.chunks = [None] * -(-source.info.st_size // CHUNK_SIZE_BYTES)
    progress(0, total_bytes)
    with closing(run_bounded(_pieces(files), store, threads=threads, cancelled=cancelled)) as results:
        for piece, stored in results:
            piece.source.chunks[piece.index] = stored.ref
            tally.add(piece, stored)
            progress(tally.done_bytes, total_bytes)
    _refuse_changes(root, sources, excluded)
    return [s.entry for s in sources], Sizes(
        total_bytes=total_bytes,
        new_bytes=tally.new_bytes,
        reused_bytes=tally.reused_bytes,
        zero_bytes=tally.zero_bytes,
        stored_bytes=tally.stored_bytes,
        files=len(files),
        new_chunks=tally.new_chunks,
    )


def is_excluded(relative: str, patterns: Sequence[str], *, directory: bool = False) -> bool:
    """:returns: whether a pattern matches *relative* as a whole, component by component."""
    parts = relative.split("/")
    for pattern in patterns:
        # A file pattern such as "core" must not take a schema of that name along.
        if pattern.endswith("/") != directory:
            continue
        globs = pattern.rstrip("/").split("/")
        if len(globs) == len(parts) and all(map(fnmatchcase, parts, globs)):
            return True
    return False


def _walk(root: Path, below: str, excluded: Sequence[str]) -> Iterator[_Source]:
    with os.scandir(root / below) as entries:
        names = sorted(e.name for e in entries)
    for name in names:
        relative = f"{below}/{name}" if below else name
        source = _Source(root / relative, relative, os.lstat(root / relative))
        if is_excluded(relative, excluded, directory=source.directory):
            continue
        _refuse_special(source)
        yield source
        if source.directory:
            yield from _walk(root, relative, excluded)


def _refuse_special(source: _Source) -> None:
    mode = source.info.st_mode
    try:
        source.relative.encode("utf-8")
    except UnicodeEncodeError:
        raise UnsupportedTables(f"The file name {source.relative!r} is not UTF-8.") from None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a directory"
    raise UnsupportedTables(
        f"{source.relative} in the data directory is {kind}; a snapshot would lose what is behind it.",
        hint="Move tables with DATA DIRECTORY into the data directory, or exclude the file.",
        evidence={"file": source.relative},
    )


def _pieces(files: Sequence[_Source]) -> Iterator[_Piece]:
    for source in files:
        size = source.info.st_size
        for index in range(len(source.chunks)):
            yield _Piece(source, index, min(CHUNK_SIZE_BYTES, size - index * CHUNK_SIZE_BYTES))


def _read_piece(piece: _Piece) -> bytes:
    try:
        descriptor = os.open(piece.source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise _changed(piece.source.relative, "it was removed") from None
    try:
        data = os.pread(descriptor, piece.size_bytes, piece.index * CHUNK_SIZE_BYTES)
    finally:
        os.close(descriptor)
    if len(data) != piece.size_bytes:
        raise _changed(piece.source.relative, "it became shorter")
    return data


def _refuse_changes(root: Path, sources: Sequence[_Source], excluded: Sequence[str]) -> None:
    """Walk again: the copy of a directory that changed is the copy of no state at all."""
    before = {s.relative: s.info for s in sources}
    after = {s.relative: s.info for s in _walk(root, "", excluded)}
    for relative in sorted(before.keys() ^ after.keys()):
        raise _changed(relative, "it was removed" if relative in before else "it appeared")
    for relative, info in before.items():
        now = after[relative]
        if stat.S_ISREG(info.st_mode) and (info.st_size, info.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
            raise _changed(relative, f"{info.st_size} bytes became {now.st_size}, or it was written to")


def _changed(relative: str, how: str) -> InternalError:
    return InternalError(
        f"{relative} changed while it was copied: {how}.",
        hint="A server still runs on the data directory; nothing was published.",
        evidence={"file": relative},
    )
