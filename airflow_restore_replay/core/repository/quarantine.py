"""Record quarantines, and releases of quarantines and holds."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_restore_replay.core.errors import NoSuchBackup
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Verdict
from airflow_restore_replay.core.repository.reachability import backups_sharing
from airflow_restore_replay.core.repository.repository import Repository


def damaged_contents(verdict: Verdict) -> list[str]:
    """Return the damaged content or list in the verdict's evidence: a content's key, or a list object's name."""
    evidence = verdict.failure.evidence if verdict.failure else {}
    chunk, record = evidence.get("chunk"), str(evidence.get("record", ""))
    if isinstance(chunk, str):
        return [chunk]
    return [record] if record.startswith(("files/", "lists/")) else []


def quarantine_shared(repository: Repository, catalog: Catalog, verdict: Verdict) -> list[Verdict]:
    """Quarantine the other backups that use the damaged content in *verdict*; idempotent.

    :returns: the verdicts recorded by this call.
    """
    shared = backups_sharing(repository, damaged_contents(verdict))
    recorded = []
    for ref, backup_ids in shared.items():
        for backup_id in backup_ids:
            known = catalog.backup(backup_id)
            if backup_id == verdict.backup_id or known.state is BackupState.QUARANTINED:
                continue
            new = repository.new_verdict(
                Outcome.QUARANTINED,
                verdict.run,
                attempt=verdict.attempt,
                backup_id=backup_id,
                failure=verdict.failure,
                by="shared damage",
                reason=f"shares the damaged {ref} with backup {verdict.backup_id}",
            )
            repository.record(new)
            recorded.append(new)
    return recorded


def quarantine_by_hand(repository: Repository, backup_id: str, *, run: str, by: str, reason: str) -> Verdict:
    """Quarantine a backup for a reason that a person gives.

    :raises NoSuchBackup: there is no readable backup of that id.
    """
    repository.catalog().backup(backup_id)
    verdict = repository.new_verdict(Outcome.QUARANTINED, run, backup_id=backup_id, by=by, reason=reason)
    repository.record(verdict)
    return verdict


def release_hold(repository: Repository, verdict_id: str, *, by: str, reason: str) -> Verdict:
    """Release a hold by a new verdict, so that the cluster may publish again.

    :raises NoSuchBackup: there is no such hold, or it was released already.
    """
    standing = [hold.verdict_id for hold in repository.catalog().held_by]
    if verdict_id not in standing:
        raise NoSuchBackup(
            f"No hold {verdict_id} is in force; there is nothing to release.",
            hint=f"Holds in force: {', '.join(standing) or 'none'}.",
        )
    verdict = repository.new_verdict(
        Outcome.WITHDRAWN, "by hand", withdraws=[verdict_id], by=by, reason=reason
    )
    repository.record(verdict)
    return verdict


def release(repository: Repository, backup_id: str, *, by: str, reason: str) -> Verdict:
    """Withdraw all quarantined and stranded verdicts on a backup by a new verdict.

    :raises NoSuchBackup: there is no such backup, or it is neither quarantined nor stranded.
    """
    standing: Sequence[Verdict] = repository.catalog().backup(backup_id).against
    if not standing:
        raise NoSuchBackup(
            f"Backup {backup_id} is neither quarantined nor stranded; there is nothing to release.",
            hint="`restore-replay show` lists its verdicts.",
        )
    verdict = repository.new_verdict(
        Outcome.WITHDRAWN,
        "by hand",
        backup_id=backup_id,
        withdraws=[v.verdict_id for v in standing],
        by=by,
        reason=reason,
    )
    repository.record(verdict)
    return verdict
