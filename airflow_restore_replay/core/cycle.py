"""The cycle's decisions, as pure functions over the catalog. Operators and the command line only carry them out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from airflow_restore_replay.core.errors import Blame, Failure, NoSuchBackup
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.records import BackupState, Outcome, Proof, Verdict

_STAMP = re.compile(r"\d{8}T\d{6}Z-")

REPLAY = "replay"
FULL = "full"


@dataclass(frozen=True)
class Choice:
    """:param base: the backup to replay from; None asks for a fresh full.
    :param skipped: newer backups that were passed over, and damaged records, with why.
    """

    base: Backup | None
    reason: str
    skipped: dict[str, str] = field(default_factory=dict)


class Next(StrEnum):
    """What the run does after its replay attempt."""

    PUBLISHED = "published"
    QUARANTINE = "quarantine"  # announce the quarantine, then a fresh full
    FULL = "full"
    FAIL = "fail"


@dataclass(frozen=True)
class Diagnosis:
    """:param verdict: the record that decided, when there is one."""

    next: Next
    reason: str
    failure: Failure | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Freshness:
    """:param age_s: seconds since the newest healthy proven backup's position was read; None is unknown."""

    age_s: float | None
    backup: Backup | None
    proof: Proof
    healthy: int


def choose_base(
    catalog: Catalog,
    *,
    force_full: bool = False,
    base_backup_id: str | None = None,
    before: datetime | None = None,
) -> Choice:
    """Choose the newest healthy proven backup.

    :param base_backup_id: use exactly this one.
    :param before: only backups whose position was read by then.
    :raises NoSuchBackup: *base_backup_id* does not exist or must not be a base.
    """
    if force_full:
        return Choice(None, "a fresh full was asked for")
    skipped = {path: f"unreadable: {why}" for path, why in catalog.unreadable.items()}
    if base_backup_id:
        return Choice(_named_base(catalog, base_backup_id), "named by the run", skipped)
    doubtful = doubtful_backups(catalog)
    skipped |= {b: "a damaged verdict may be about it" for b in sorted(doubtful)}
    usable = [b for b in catalog.healthy(before=before) if b.backup_id not in doubtful]
    for backup in catalog.backups:
        newer = not usable or backup.manifest.goal_read_at >= usable[-1].manifest.goal_read_at
        if newer and backup.state is not BackupState.HEALTHY:
            skipped[backup.backup_id] = backup.state.value
    if not usable:
        return Choice(None, "there is no healthy proven backup", skipped)
    return Choice(usable[-1], "newest healthy proven backup", skipped)


def doubtful_backups(catalog: Catalog) -> set[str]:
    """Fail closed: a verdict that cannot be read may exclude any backup that is older than it.

    :returns: ids of healthy backups that existed when an unreadable verdict was written. A verdict's name begins
        with its time (see FORMAT.md); one whose name tells no time casts doubt on all.
    """
    names = [p.removeprefix("verdicts/") for p in catalog.unreadable if p.startswith("verdicts/")]
    if not names:
        return set()
    newest = max(name[:16] if _STAMP.match(name) else "~" for name in names)
    return {b.backup_id for b in catalog.healthy() if b.backup_id[:16] <= newest}


def _named_base(catalog: Catalog, backup_id: str) -> Backup:
    backup = catalog.backup(backup_id)
    if backup.state is not BackupState.HEALTHY:
        raise NoSuchBackup(
            f"Backup {backup_id} is {backup.state} and cannot be a base.",
            hint="Release it with a reason first (`restore-replay release`), or name another.",
        )
    return backup


def diagnose(catalog: Catalog, *, run: str, had_base: bool, epoch: int | None = None) -> Diagnosis:
    """Decide from what the run *recorded* how it goes on after choose_base and the replay attempt.

    :param run: lease owner.
    :param had_base: whether choose_base found a base, so that a replay was attempted.
    :param epoch: the lease under which the replay was attempted: what a run recorded before it was cleared says
        nothing about its new attempt. None: all that the run ever recorded.
    """
    if not had_base:
        return Diagnosis(Next.FULL, "no base")
    attempts = [v for v in catalog.attempts(run) if v.attempt == REPLAY and epoch in (None, v.lease_epoch)]
    if _published(catalog, attempts, run, epoch):
        return Diagnosis(Next.PUBLISHED, "the replayed backup is published", verdict=_last(attempts))
    last = _last(attempts)
    if last is None or last.failure is None:
        return Diagnosis(
            Next.FAIL, "the replay attempt left no record, so nothing is known about the base", verdict=last
        )
    return _by_blame(last, last.failure)


def _by_blame(verdict: Verdict, failure: Failure) -> Diagnosis:
    steps = {Blame.BACKUP: Next.QUARANTINE, Blame.STRANDED: Next.FULL}
    step = steps.get(failure.blame, Next.FAIL)
    return Diagnosis(step, failure.message, failure, verdict)


def _published(catalog: Catalog, attempts: Sequence[Verdict], run: str, epoch: int | None) -> bool:
    # The manifest is the backup; the record that follows it may be lost with the node.
    by_record = any(v.outcome is Outcome.PUBLISHED for v in attempts)
    return by_record or any(
        m.run == run and epoch in (None, m.lease_epoch) and m.base.kind == "backup" for m in catalog.manifests
    )


def _last(verdicts: Sequence[Verdict]) -> Verdict | None:
    telling = [v for v in verdicts if v.outcome is not Outcome.RESTORED]
    return telling[-1] if telling else None


def same_fault(catalog: Catalog, *, run: str, fallback: Failure) -> list[Verdict]:
    """:returns: this run's quarantines that failed with the fallback's fingerprint: the base was not at fault."""
    return [
        v
        for v in catalog.attempts(run)
        if v.outcome is Outcome.QUARANTINED and v.failure and v.failure.fingerprint == fallback.fingerprint
    ]


def freshness(catalog: Catalog, *, now: datetime, proof: Proof = Proof.READ_BACK) -> Freshness:
    """Age of the newest healthy backup proven at least to *proof*: from when its position was read."""
    healthy = catalog.healthy(proof=proof)
    if not healthy:
        return Freshness(None, None, proof, 0)
    newest = healthy[-1]
    return Freshness((now - newest.manifest.goal_read_at).total_seconds(), newest, proof, len(healthy))
