"""Read stored chunks back past all caches, hash them, and report damage with every backup that it affects."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Verification, utc_now
from airflow_restore_replay.core.repository.rate_limit import (
    ProgressFn,
    RateLimit,
    never_cancelled,
    no_progress,
)
from airflow_restore_replay.core.repository.reachability import backups_sharing
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.verification.passes import Journal, Scope, plan_pass
from airflow_restore_replay.core.repository.verification.records import examine_records
from airflow_restore_replay.core.repository.verification.work import Stored, Work, check_object, collect
from airflow_restore_replay.core.system.parallel import run_bounded


@dataclass
class BadChunk:
    """A damaged or missing content.

    :param ref: key of the content: a chunk's reference, or ``<bundle>@<offset>``.
    :param backups: all readable backups that need it.
    """

    ref: str
    failure: Failure
    backups: list[str]


@dataclass
class VerifyReport:
    """Result of a verification.

    :param backups: number of backups whose contents were selected.
    :param chunks, size_bytes: number and uncompressed bytes of the contents read and hashed by this call.
    :param objects: number of objects that hold them.
    :param resumed_folders: number of folders read earlier in the same pass, before it was interrupted.
    :param bad: damaged or missing contents.
    :param bad_lists: backup id → what is wrong with its file list or one of its chunk lists.
    :param unreadable: path of a damaged record, lease object or key check → error.
    :param missing: path of a record that was deleted → which other names it.
    :param quarantined: ids of the backups quarantined by this call.
    :param unrecorded: why the progress could not be stored; the result is valid nevertheless.
    """

    cluster: str
    pass_id: str
    backups: int = 0
    chunks: int = 0
    objects: int = 0
    size_bytes: int = 0
    resumed_folders: int = 0
    bad: list[BadChunk] = field(default_factory=list)
    bad_lists: dict[str, Failure] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    quarantined: list[str] = field(default_factory=list)
    unrecorded: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Return whether no damage was found."""
        return not (self.bad or self.bad_lists or self.unreadable or self.missing)


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
    """Verify stored bytes; write nothing but records of progress and, on request, quarantines.

    :param restart: do not resume an interrupted pass.
    :param quarantine: quarantine every backup that damage affects.
    :param by: who verifies, for the records.
    :raises NoSuchBackup: ``scope.backup_id`` does not exist or its manifest is not readable.
    """
    started = time.monotonic()
    scope = scope or Scope()
    folders = scope.folders()
    catalog = repository.catalog()
    manifests = [catalog.backup(scope.backup_id).manifest] if scope.backup_id else list(catalog.manifests)
    # A damaged record of progress only means that its folders are read again.
    this = plan_pass(repository.records(Verification)[0], scope, now=utc_now(), restart=restart)
    report = VerifyReport(repository.cluster, this.pass_id, len(manifests))
    if not scope.backup_id:
        records = examine_records(repository)
        report.unreadable, report.missing = dict(catalog.unreadable) | records.damaged, records.missing
    report.resumed_folders = len(this.done)
    todo = sorted(
        (f for f in folders if f not in this.done),
        key=lambda f: (f in this.verified_at, this.verified_at.get(f), f),
    )
    work = Work.of(todo)
    collect(repository, manifests, work)
    report.bad_lists = work.bad_lists
    journal = Journal(repository, scope, this, by, report)
    found = _read_all(
        repository, work, journal, report, threads, rate_limit or RateLimit(None), progress, cancelled
    )
    _name_backups(repository, found, report)
    if quarantine:
        _quarantine(repository, report, by)
    report.seconds = round(time.monotonic() - started, 3)
    return report


def _read_all(
    repository: Repository,
    work: Work,
    journal: Journal,
    report: VerifyReport,
    threads: int,
    limit: RateLimit,
    progress: ProgressFn,
    cancelled: Callable[[], bool],
) -> dict[str, Failure]:
    """Read all objects, and return key of a damaged content → what is wrong with it."""
    found: dict[str, Failure] = {}
    total_bytes = work.total_bytes
    left = {name: len(objects) for name, objects in work.folders.items()}
    for empty in [name for name, count in left.items() if not count]:
        journal.done(empty)

    def check(stored: Stored) -> dict[str, Failure]:
        limit.take(stored.size_bytes)
        return check_object(work.stores[stored.name], stored)

    progress(0, total_bytes)
    try:
        with closing(run_bounded(work.objects(), check, threads=threads, cancelled=cancelled)) as results:
            for stored, failures in results:
                report.chunks += len(stored.contents)
                report.objects += 1
                report.size_bytes += stored.size_bytes
                found |= failures
                journal.bad += failures
                left[stored.folder] -= 1
                if not left[stored.folder]:
                    journal.done(stored.folder)
                progress(report.size_bytes, total_bytes)
        journal.write(complete=True)
    except BaseException:
        # After Ctrl-C or a failure of the store, a resumed pass does not need to read these folders again.
        journal.write()
        raise
    return found


def _name_backups(repository: Repository, found: Mapping[str, Failure], report: VerifyReport) -> None:
    """Add the affected backups to the damage found.

    They are looked up now: a chunk that no backup needs any more may have been pruned meanwhile, and is not damage.
    """
    for ref, backups in (backups_sharing(repository, found) if found else {}).items():
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
