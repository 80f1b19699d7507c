"""Read stored chunks back past all caches and hash them; what is bad is listed with every backup it touches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from airflow_restore_replay.core.errors import (
    BackupFault,
    Failure,
    ManifestCorrupt,
    Refused,
)
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.chunks import ChunkStore
from airflow_restore_replay.core.repository.entries import check_entries
from airflow_restore_replay.core.repository.limits import ProgressFn, RateLimit, never_cancelled, no_progress
from airflow_restore_replay.core.repository.manifests import manifest_path
from airflow_restore_replay.core.repository.parallel import run_bounded
from airflow_restore_replay.core.repository.records import (
    BackupState,
    FileEntry,
    Manifest,
    Outcome,
    PageDelta,
    Verification,
    utc_now,
)
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.verify_pass import Journal, Scope, plan_pass


@dataclass
class BadChunk:
    """:param backups: all readable backups that need it."""

    ref: str
    failure: Failure
    backups: list[str]


@dataclass
class VerifyReport:
    """What a pass found.

    :param chunks, size_bytes: read and hashed by this call; uncompressed.
    :param resumed_folders: read earlier in the same pass, before it was interrupted.
    :param bad: damaged or missing chunks. :param bad_lists: backup id → what is wrong with its file list.
    :param unreadable: records that do not check out.
    :param quarantined: backups quarantined now.
    :param unrecorded: why the progress could not be kept; the result counts all the same.
    """

    cluster: str
    pass_id: str
    backups: int = 0
    chunks: int = 0
    size_bytes: int = 0
    resumed_folders: int = 0
    bad: list[BadChunk] = field(default_factory=list)
    bad_lists: dict[str, Failure] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    quarantined: list[str] = field(default_factory=list)
    unrecorded: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not (self.bad or self.bad_lists or self.unreadable)


def verify(
    repository: Repository,
    scope: Scope | None = None,
    *,
    restart: bool = False,
    quarantine: bool = False,
    by: str = "",
    threads: int = 4,
    rate_limit: RateLimit | None = None,
    progress: ProgressFn = no_progress,
    cancelled: Callable[[], bool] = never_cancelled,
) -> VerifyReport:
    """Verify stored bytes; changes nothing but for records of its progress and, if asked, quarantines.

    :param restart: do not go on with an interrupted pass.
    :param quarantine: record a verdict against every backup that damage touches.
    :raises NoSuchBackup: ``scope.backup_id`` does not exist or its manifest is not readable.
    """
    started = time.monotonic()
    scope = scope or Scope()
    folders = scope.folders()
    catalog = repository.catalog()
    manifests = [catalog.backup(scope.backup_id).manifest] if scope.backup_id else list(catalog.manifests)
    # A damaged record of progress costs reading again, no more.
    this = plan_pass(repository.records(Verification)[0], scope, now=utc_now(), restart=restart)
    report = VerifyReport(repository.cluster, this.pass_id, len(manifests))
    report.unreadable = {} if scope.backup_id else dict(catalog.unreadable)
    report.resumed_folders = len(this.done)
    todo = sorted(
        (f for f in folders if f not in this.done),
        key=lambda f: (f in this.verified_at, this.verified_at.get(f), f),
    )
    work = _Work(todo)
    _collect(repository, manifests, work, report)
    journal = Journal(repository, scope, this, by, report)
    found = _read_all(
        repository, work, journal, report, threads, rate_limit or RateLimit(None), progress, cancelled
    )
    _name_backups(repository, found, report)
    if quarantine:
        _quarantine(repository, report, by)
    report.seconds = round(time.monotonic() - started, 3)
    return report


class _Work:
    """Chunks to be read, by folder in reading order: reference → size; and with which key."""

    def __init__(self, folders: Iterable[str]) -> None:
        self.stores: dict[str, ChunkStore] = {}
        self.folders: dict[str, dict[str, int]] = {f: {} for f in folders}

    def add(self, entry: FileEntry, chunk_size_bytes: int, chunks: ChunkStore) -> None:
        for index, ref in enumerate(entry.chunks):
            if isinstance(ref, PageDelta):
                raise Refused("Page deltas are reserved by format 1; this release cannot verify them.")
            if ref is None or (folder := self.folders.get(ref[:2])) is None:
                continue
            # Names under different keys never coincide.
            self.stores[ref] = chunks
            size = min(chunk_size_bytes, entry.size_bytes - index * chunk_size_bytes)
            if folder.setdefault(ref, size) != size:
                raise ManifestCorrupt(
                    f"Chunk {ref} (file {entry.path}) would have {size} bytes; elsewhere it has {folder[ref]}.",
                    evidence={"chunk": ref, "file": entry.path},
                )

    def items(self) -> Iterator[tuple[str, int]]:
        for folder in self.folders.values():
            yield from sorted(folder.items())

    @property
    def total_bytes(self) -> int:
        return sum(sum(folder.values()) for folder in self.folders.values())


def _collect(
    repository: Repository, manifests: Iterable[Manifest], work: _Work, report: VerifyReport
) -> None:
    for manifest in manifests:
        try:
            files = repository.load_files(manifest)
            check_entries(files, manifest.chunk_size_bytes, label=manifest.backup_id)
            for entry in files:
                work.add(entry, manifest.chunk_size_bytes, repository.chunks_for(manifest))
        except BackupFault as exc:
            if repository.store.size(manifest_path(manifest.backup_id)) is None:
                continue  # pruned since the catalog was read
            report.bad_lists[manifest.backup_id] = Failure.of(exc)


def _read_all(
    repository: Repository,
    work: _Work,
    journal: Journal,
    report: VerifyReport,
    threads: int,
    limit: RateLimit,
    progress: ProgressFn,
    cancelled: Callable[[], bool],
) -> dict[str, Failure]:
    """:returns: reference → what is wrong with the chunk."""
    found: dict[str, Failure] = {}
    total_bytes = work.total_bytes
    left = {name: len(refs) for name, refs in work.folders.items()}
    for empty in [name for name, count in left.items() if not count]:
        journal.done(empty)

    def check(item: tuple[str, int]) -> Failure | None:
        limit.take(item[1])
        return _check(work.stores[item[0]], *item)

    progress(0, total_bytes)
    try:
        with closing(run_bounded(work.items(), check, threads=threads, cancelled=cancelled)) as results:
            for (ref, size), failure in results:
                report.chunks += 1
                report.size_bytes += size
                if failure:
                    found[ref] = failure
                    journal.bad.append(ref)
                left[ref[:2]] -= 1
                if not left[ref[:2]]:
                    journal.done(ref[:2])
                progress(report.size_bytes, total_bytes)
        journal.write(complete=True)
    except BaseException:
        # Ctrl-C or a store that went away: what was read need not be read again.
        journal.write()
        raise
    return found


def _check(chunks: ChunkStore, ref: str, size_bytes: int) -> Failure | None:
    for last in (False, True):
        try:
            chunks.read(ref, size_bytes, uncached=True)
            return None
        except BackupFault as exc:
            # Bytes may have been damaged on their way: it counts when it recurs.
            if last:
                return Failure.of(exc)
    raise AssertionError("unreachable")


def _name_backups(repository: Repository, found: Mapping[str, Failure], report: VerifyReport) -> None:
    """Look the backups up anew: a chunk that no backup needs any more was pruned meanwhile, and is not bad."""
    for ref, backups in (repository.backups_sharing(found) if found else {}).items():
        if backups:
            report.bad.append(BadChunk(ref, found[ref], backups))


def _quarantine(repository: Repository, report: VerifyReport, by: str) -> None:
    against: dict[str, Failure] = {b: bad.failure for bad in report.bad for b in bad.backups}
    against |= report.bad_lists
    catalog: Catalog = repository.catalog()
    for backup_id, failure in sorted(against.items()):
        if catalog.backup(backup_id).state is BackupState.QUARANTINED:
            continue
        verdict = repository.new_verdict(
            Outcome.QUARANTINED,
            f"verify/{report.pass_id}",
            backup_id=backup_id,
            step="verify",
            failure=failure,
            by=by,
            reason="damage found by verify",
        )
        repository.record(verdict)
        report.quarantined.append(backup_id)
