"""Choose the base that a run replays from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from airflow_restore_replay.core.config.sections import FullEvery
from airflow_restore_replay.core.decisions.holds import full_due, refuse_held
from airflow_restore_replay.core.errors import NoSuchBackup, PreflightFailed
from airflow_restore_replay.core.repository.catalog import Backup, Catalog, doubtful_backups
from airflow_restore_replay.core.repository.format.records import BackupState
from airflow_restore_replay.core.times import stamp


@dataclass(frozen=True)
class Choice:
    """Base of a run, with the reason of the choice.

    :param base: the backup to replay from; None asks for a fresh full.
    :param skipped: newer backups that were skipped, and damaged records, each with the reason.
    :param existing: the backup that the run should make, if it exists already: the run has nothing to do.
    """

    base: Backup | None
    reason: str
    skipped: dict[str, str] = field(default_factory=dict)
    existing: Backup | None = None


def choose(
    catalog: Catalog,
    *,
    run: str,
    as_of: datetime | None = None,
    force_full: bool = False,
    base_backup_id: str | None = None,
    full_every: FullEvery | None = None,
    now: datetime,
) -> Choice:
    """Choose the base of a run, for the DAG and the command line.

    :param run: lease owner.
    :param as_of: the past time for which the run rebuilds the backup.
    :raises NoSuchBackup, PreflightFailed, Held: see :func:`choose_base` and :func:`choose_base_as_of`.
    """
    if as_of is not None:
        return choose_base_as_of(
            catalog, as_of, now=now, force_full=force_full, base_backup_id=base_backup_id
        )
    return published_by(catalog, run) or choose_base(
        catalog, force_full=force_full, base_backup_id=base_backup_id, full_every=full_every, now=now
    )


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
    :param full_every, now: the rule by which a fresh full replaces a healthy base, and the time to apply it at.
    :raises NoSuchBackup: *base_backup_id* does not exist or must not be a base.
    :raises Held: the cluster is on hold, so nothing may be published.
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


def choose_base_as_of(
    catalog: Catalog,
    as_of: datetime,
    *,
    now: datetime,
    force_full: bool = False,
    base_backup_id: str | None = None,
) -> Choice:
    """Choose the base from which to rebuild the backup of a past time.

    An as-of run never falls back to a fresh full, which would hold the primary's current data.

    :returns: a choice with a base, or with the existing backup as of exactly that time.
    :raises PreflightFailed: *as_of* is in the future, or a fresh full was requested.
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
    others = f" ({len(choice.skipped)} others were skipped)" if choice.skipped else ""
    return f"the oldest healthy backup, {oldest.backup_id}, is from {stamp(oldest.manifest.goal_read_at)}{others}"


def _named_base(catalog: Catalog, backup_id: str) -> Backup:
    backup = catalog.backup(backup_id)
    if backup.state is not BackupState.HEALTHY:
        raise NoSuchBackup(
            f"Backup {backup_id} is {backup.state} and cannot be a base.",
            hint="Release it with a reason first (`restore-replay release`), or name another.",
        )
    return backup


def published_by(catalog: Catalog, run: str) -> Choice | None:
    """Return the choice to do nothing if *run* has published a healthy backup already, else None.

    A run that is executed again after it published thus makes no second backup.
    """
    own = [b for b in catalog.healthy() if b.manifest.run == run and not b.manifest.as_of]
    if not own:
        return None
    why = f"this run has published {own[-1].backup_id} already; for another backup, trigger a new run"
    return Choice(None, why, existing=own[-1])
