"""Write the files of a backup into a directory, every byte checked against its name."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_restore_replay.core.errors import BackupFault, NodeFull, TargetNotEmpty
from airflow_restore_replay.core.repository.chunks import ChunkStore, is_zero, split_ref
from airflow_restore_replay.core.repository.entries import check_entries
from airflow_restore_replay.core.repository.limits import ProgressFn, RateLimit, never_cancelled, no_progress
from airflow_restore_replay.core.repository.parallel import run_bounded
from airflow_restore_replay.core.repository.records import ChunkRef, FileEntry


@dataclass
class RestoreResult:
    """:param bytes: bytes of files that are in place now.
    :param fetched_bytes: of these, the bytes decoded from the store in this run.
    :param verified: references whose stored object this run decoded and hashed.
    """

    bytes: int = 0
    fetched_bytes: int = 0
    verified: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Piece:
    entry: FileEntry
    ref: ChunkRef
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class _Run:
    """What the threads of one restore share."""

    chunks: ChunkStore
    target: Path
    label: str
    limit: RateLimit
    resume: bool


def restore_tree(
    chunks: ChunkStore,
    files: Sequence[FileEntry],
    target: Path,
    *,
    chunk_size_bytes: int,
    threads: int = 4,
    rate_limit: RateLimit | None = None,
    progress: ProgressFn = no_progress,
    cancelled: Callable[[], bool] = never_cancelled,
    resume: bool = False,
    label: str = "",
) -> RestoreResult:
    """Rebuild *files* below *target*; when this returns, all of it is on disk.

    :param resume: *target* may have content: bytes that hash to their chunk's name are kept, the rest is
        fetched. Otherwise *target* must be empty or absent.
    :param label: names the backup in errors.
    :raises PathEscapes: a path or reference leaves its root; nothing was written.
    :raises ManifestCorrupt: entries contradict each other; nothing was written.
    :raises ChunkMissing, ChunkCorrupt: naming chunk, file and backup.
    :raises TargetNotEmpty: see *resume*; or a symbolic link is in the way.
    :raises NodeFull: no space below *target*.
    """
    check_entries(files, chunk_size_bytes, label=label)
    run = _Run(chunks, target, label, rate_limit or RateLimit(None), resume)
    result = RestoreResult()
    total_bytes = sum(f.size_bytes for f in files)
    with _full_disk(target):
        _prepare(run, files)
        progress(0, total_bytes)
        pieces = _pieces(files, chunk_size_bytes)
        fill = functools.partial(_fill, run)
        with contextlib.closing(run_bounded(pieces, fill, threads=threads, cancelled=cancelled)) as results:
            for piece, fetched in results:
                result.bytes += piece.size_bytes
                if fetched and isinstance(piece.ref, str):
                    result.fetched_bytes += piece.size_bytes
                    result.verified.add(piece.ref)
                progress(result.bytes, total_bytes)
        _make_durable(run, files, threads, cancelled)
    return result


def _prepare(run: _Run, files: Sequence[FileEntry]) -> None:
    """Create directories and files in their full size; chunks that are zero stay holes."""
    target = run.target
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not run.resume and any(target.iterdir()):
        raise TargetNotEmpty(f"{target} is not empty.", hint="Give an empty or new directory.")
    for relative in _directories(files):
        _refuse_symlink(target / relative)
        (target / relative).mkdir(mode=0o700, exist_ok=True)
    for entry in files:
        if not entry.directory:
            _refuse_symlink(target / entry.path)
            with _opened(target / entry.path, os.O_RDWR | os.O_CREAT) as descriptor:
                os.ftruncate(descriptor, entry.size_bytes)


def _directories(files: Iterable[FileEntry]) -> list[str]:
    """:returns: all directories, parents first, also those that only a file's path implies."""
    found: set[str] = set()
    for entry in files:
        parts = entry.path.split("/")
        depth = len(parts) if entry.directory else len(parts) - 1
        found.update("/".join(parts[: i + 1]) for i in range(depth))
    return sorted(found)


def _pieces(files: Iterable[FileEntry], chunk_size_bytes: int) -> Iterator[_Piece]:
    for entry in files:
        for index, ref in enumerate(entry.chunks):
            offset = index * chunk_size_bytes
            yield _Piece(entry, ref, offset, min(chunk_size_bytes, entry.size_bytes - offset))


def _fill(run: _Run, piece: _Piece) -> bool:
    """Put one chunk in place.

    :returns: whether it was decoded from the store.
    """
    path = run.target / piece.entry.path
    if run.resume and _in_place(run, path, piece):
        return False
    if piece.ref is None:
        if run.resume:
            _write(path, bytes(piece.size_bytes), piece.offset)
        return False
    run.limit.take(piece.size_bytes)
    where = (
        f" of backup {run.label} (file {piece.entry.path})" if run.label else f" (file {piece.entry.path})"
    )
    try:
        data = run.chunks.read(piece.ref, piece.size_bytes, where=where)
    except BackupFault as exc:
        exc.evidence |= {"file": piece.entry.path, "backup": run.label}
        raise
    _write(path, data, piece.offset)
    return True


def _in_place(run: _Run, path: Path, piece: _Piece) -> bool:
    with _opened(path, os.O_RDONLY) as descriptor:
        present = os.pread(descriptor, piece.size_bytes, piece.offset)
    if piece.ref is None:
        return is_zero(present)
    return isinstance(piece.ref, str) and run.chunks.codec.name(present) == split_ref(piece.ref)[0]


def _write(path: Path, data: bytes, offset: int) -> None:
    with _opened(path, os.O_WRONLY) as descriptor:
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written


def _make_durable(run: _Run, files: Sequence[FileEntry], threads: int, cancelled: Callable[[], bool]) -> None:
    """Sync files, then directories from the deepest up; set modes last, so that none stands in the way."""

    def settle(entry: FileEntry) -> None:
        with _opened(run.target / entry.path, os.O_RDONLY) as descriptor:
            os.fchmod(descriptor, entry.mode & 0o777)
            os.fsync(descriptor)

    plain = [f for f in files if not f.directory]
    for _ in run_bounded(plain, settle, threads=threads, cancelled=cancelled):
        pass
    modes = {f.path: f.mode & 0o777 for f in files if f.directory}
    for relative in reversed(_directories(files)):
        with _opened(run.target / relative, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            os.fsync(descriptor)
            os.fchmod(descriptor, modes.get(relative, 0o700))
    for directory in (run.target, run.target.parent):
        with _opened(directory, os.O_RDONLY | os.O_DIRECTORY, follow=True) as descriptor:
            os.fsync(descriptor)


@contextlib.contextmanager
def _opened(path: Path, flags: int, *, follow: bool = False) -> Iterator[int]:
    flags |= os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_symlink(path: Path) -> None:
    """The target's content is no evidence against a backup, so this is refused, not blamed."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISLNK(os.lstat(path).st_mode):
            raise TargetNotEmpty(
                f"{path} is a symbolic link; a restore would write outside of its directory.",
                hint="Give an empty directory.",
            )


@contextlib.contextmanager
def _full_disk(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NodeFull(
                f"No space left below {target} during the restore.", hint="Free space or give a larger disk."
            ) from exc
        raise
