"""The cycle's decisions, as pure functions over the catalog. Operators and the command line only carry them out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from airflow_restore_replay.core.config.sections import FullEvery
from airflow_restore_replay.core.decisions.attempts import FULL, REPLAY, next_step
from airflow_restore_replay.core.errors import NoSuchBackup, PreflightFailed
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.holds import full_due, refuse_held
from airflow_restore_replay.core.repository.catalog import Backup, Catalog, doubtful_backups
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Proof, Verdict


@dataclass(frozen=True)
class Choice:
    """:param base: the backup to replay from; None asks for a fresh full.
    :param skipped: newer backups that were passed over, and damaged records, with why.
    :param existing: the backup that the run was to make is there already: nothing is left to do.
    """

    base: Backup | None
    reason: str
    skipped: dict[str, str] = field(default_factory=dict)
    existing: Backup | None = None


class Next(StrEnum):
    """What the run does after an attempt."""

    PUBLISHED = "published"
    QUARANTINE = "quarantine"  # announce the quarantine, then what follows
    FULL = "full"  # there is no base, or none any more
    FAIL = "fail"


@dataclass(frozen=True)
class Diagnosis:
    """:param verdict: the record that decided, when there is one.
    :param attempt: which attempt follows, if any.
    """

    next: Next
    reason: str
    failure: Failure | None = None
    verdict: Verdict | None = None
    attempt: str | None = None


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
    full_every: FullEvery | None = None,
    now: datetime | None = None,
) -> Choice:
    """Choose the newest healthy proven backup.

    :param base_backup_id: use exactly this one.
    :param before: only backups whose data is from before that time.
    :param full_every, now: when a fresh full takes the place of a healthy base.
    :raises NoSuchBackup: *base_backup_id* does not exist or must not be a base.
    :raises Held: nothing may be published.
    """
    refuse_held(catalog)
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
    if full_every and now and (why := full_due(catalog, usable[-1].manifest, full_every, now)):
        return Choice(None, why, skipped)
    return Choice(usable[-1], "newest healthy proven backup", skipped)


def past(time: datetime) -> datetime:
    """:returns: *time* in UTC and whole seconds, as events are stamped."""
    return time.astimezone(UTC).replace(microsecond=0)


def choose_base_as_of(
    catalog: Catalog,
    as_of: datetime,
    *,
    now: datetime,
    force_full: bool = False,
    base_backup_id: str | None = None,
) -> Choice:
    """Choose what to rebuild the backup of a past time from; see :func:`past`.

    Such a run never seeds: a fresh full is today's data.

    :returns: a choice with a base, or with the backup of that very time when there is one already.
    :raises PreflightFailed: *as_of* is not past, or a fresh full was asked for.
    :raises NoSuchBackup: there is no base from before that time.
    """
    if as_of > now:
        raise PreflightFailed(
            f"{stamp(as_of)} is not past yet: it is {stamp(now)}.", hint="Take a backup as of now instead."
        )
    if force_full:
        raise PreflightFailed(
            f"A fresh full holds today's data; it cannot be the backup as of {stamp(as_of)}.",
            hint="Leave force_full out.",
        )
    doubtful = doubtful_backups(catalog)
    for backup in catalog.healthy():
        if backup.manifest.as_of == as_of and backup.backup_id not in doubtful:
            return Choice(None, f"the backup as of {stamp(as_of)} is already there", existing=backup)
    choice = choose_base(catalog, base_backup_id=base_backup_id, before=as_of)
    if choice.base is None or not choice.base.stands_before(as_of):
        raise NoSuchBackup(
            f"Nothing to rebuild the backup as of {stamp(as_of)} from: {_what_there_is(catalog, choice)}.",
            hint="Only times after a healthy backup can be rebuilt, while the primary has the binary logs since.",
        )
    return choice


def _what_there_is(catalog: Catalog, choice: Choice) -> str:
    if choice.base:
        return f"backup {choice.base.backup_id} is not from before that time"
    healthy = catalog.healthy()
    if not healthy:
        return f"cluster {catalog.cluster} has no healthy proven backup"
    oldest = healthy[0]
    others = f" ({len(choice.skipped)} others were passed over)" if choice.skipped else ""
    return f"the oldest healthy backup, {oldest.backup_id}, is from {stamp(oldest.manifest.goal_read_at)}{others}"


def stamp(time: datetime) -> str:
    """:returns: *time* as people write it, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _named_base(catalog: Catalog, backup_id: str) -> Backup:
    backup = catalog.backup(backup_id)
    if backup.state is not BackupState.HEALTHY:
        raise NoSuchBackup(
            f"Backup {backup_id} is {backup.state} and cannot be a base.",
            hint="Release it with a reason first (`restore-replay release`), or name another.",
        )
    return backup


def diagnose(
    catalog: Catalog,
    *,
    run: str,
    had_base: bool,
    as_of: datetime | None = None,
    fallback: str = "full",
    attempt: str = REPLAY,
) -> Diagnosis:
    """Decide from what the run *recorded* how it goes on after choose_base and the replay attempt.

    :param run: lease owner.
    :param had_base: whether choose_base found a base, so that a replay was attempted.
    :param as_of: the past time for which the run rebuilds the backup. Such a run publishes that or fails;
        evidence against its base stands, but no fresh full can take its place.
    :param fallback: the cluster's; see :func:`~airflow_restore_replay.core.decisions.attempts.next_step`.
    :param attempt: which one has ended.
    """
    if as_of is not None:
        return _diagnose_as_of(catalog, run, as_of)
    if not had_base:
        return Diagnosis(Next.FULL, "no base", attempt=FULL)
    attempts = _attempts(catalog, run, attempt)
    if _published(catalog, attempts, run):
        return Diagnosis(Next.PUBLISHED, "the replayed backup is published", verdict=_last(attempts))
    last = _last(attempts)
    if last is None or last.failure is None:
        return _no_record(last)
    step = next_step(attempt, last.failure.blame, fallback=fallback)
    found = Next.QUARANTINE if step.quarantine else Next.FULL if step.attempt else Next.FAIL
    return Diagnosis(found, last.failure.message, last.failure, last, step.attempt)


def _diagnose_as_of(catalog: Catalog, run: str, as_of: datetime) -> Diagnosis:
    # By the manifest alone: a scheduled run that is backfilled again has records from its first time.
    if any(b.manifest.as_of == as_of for b in catalog.healthy()):
        return Diagnosis(Next.PUBLISHED, f"the backup as of {stamp(as_of)} is published")
    last = _last(_attempts(catalog, run, REPLAY))
    if last is None or last.failure is None:
        return _no_record(last)
    return Diagnosis(Next.FAIL, last.failure.message, last.failure, last)


def _attempts(catalog: Catalog, run: str, attempt: str) -> list[Verdict]:
    return [v for v in catalog.attempts(run) if v.attempt == attempt]


def _no_record(last: Verdict | None) -> Diagnosis:
    why = "the replay attempt left no record, so nothing is known about the base"
    return Diagnosis(Next.FAIL, why, verdict=last)


def _published(catalog: Catalog, attempts: Sequence[Verdict], run: str) -> bool:
    # The manifest is the backup; the record that follows it may be lost with the node.
    by_record = any(v.outcome is Outcome.PUBLISHED for v in attempts)
    return by_record or any(m.run == run and m.base.kind == "backup" for m in catalog.manifests)


def _last(verdicts: Sequence[Verdict]) -> Verdict | None:
    telling = [v for v in verdicts if v.outcome is not Outcome.RESTORED]
    return telling[-1] if telling else None


def differed_before(catalog: Catalog, base_id: str, tables: Collection[str]) -> list[Verdict]:
    """:returns: the quarantines over any of *tables* in whose place the fresh full came that *base_id* goes back to.

    That they differ again is the primary's doing: a fresh full has no drift of an earlier backup.
    """
    manifests = {m.backup_id: m for m in catalog.manifests}
    root = manifests.get(base_id)
    while root is not None and root.base.kind == "backup":
        root = manifests.get(root.base.backup_id)
    of_run = catalog.attempts(root.run) if root else []
    bad = [v for v in of_run if v.outcome is Outcome.QUARANTINED and v.failure]
    return [v for v in bad if v.failure and v.failure.tables & set(tables)]


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


def published_by(catalog: Catalog, run: str) -> Choice | None:
    """A run that is run again after it has published makes no second backup.

    :returns: the choice to do nothing; None when *run* has no healthy backup to its name.
    """
    own = [b for b in catalog.healthy() if b.manifest.run == run and not b.manifest.as_of]
    if not own:
        return None
    why = f"this run has published {own[-1].backup_id} already; for another backup, trigger a new run"
    return Choice(None, why, existing=own[-1])


def recovered_from(catalog: Catalog, *, run: str) -> list[Verdict]:
    """What went wrong since the last backup before *run*'s, oldest first; empty when all was well.

    A try of this very run that a retry made good is no trouble: nobody was told about it.
    """
    earlier = [m.created_at for m in catalog.manifests if m.run != run and not m.as_of]
    since = max(earlier, default=None)
    bad = (Outcome.QUARANTINED, Outcome.STRANDED, Outcome.HELD)
    return [
        v
        for v in catalog.verdicts
        if (v.outcome in bad or (v.outcome is Outcome.FAILED and v.run != run))
        and (since is None or v.at > since)
    ]
