"""Quarantine a damaged backup and those that share the damage, and announce it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.compat import AirflowFailException, AirflowSkipException
from airflow_restore_replay.core.decisions.attempts import next_step
from airflow_restore_replay.core.errors import Blame, PreflightFailed
from airflow_restore_replay.operators.base import ClusterOperator, call_all, fail_or_retry, run_owner
from airflow_restore_replay.operators.links import BackupLink, VerdictLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.repository.catalog import Catalog
    from airflow_restore_replay.core.repository.format.records import Verdict
    from airflow_restore_replay.core.repository.repository import Repository

QuarantineCallback = Callable[[Any], Any]


class QuarantineBackupOperator(ClusterOperator):
    """Task that announces the quarantine that the run recorded, and extends it to backups that share damaged chunks.

    With *backup_id* and *reason* it quarantines a backup by a person's decision instead.

    Returns ``backup_id``, ``reason``, ``quarantined`` (ids of all backups that are now excluded), ``attempt`` (the one
    that found the damage) and ``follows`` (the attempt of the same run that comes next; None if there is none).

    :param backup_id: quarantine this backup; default is the backup of the run's own verdict.
    :param reason: why; needed with *backup_id*.
    :param attempt: use only what this attempt of the run recorded; without a record of it, the task is skipped.
    :param on_quarantine: functions or notifiers, called with the context, which then has ``quarantine``.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "backup_id", "reason")
    ui_color = "#f6c9c9"
    operator_extra_links = (BackupLink(), VerdictLink())

    def __init__(
        self,
        *,
        backup_id: str | None = None,
        reason: str | None = None,
        attempt: str | None = None,
        on_quarantine: QuarantineCallback | Sequence[QuarantineCallback] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.backup_id = backup_id
        self.reason = reason
        self.attempt = attempt
        self.on_quarantine = on_quarantine

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_restore_replay.core.repository.quarantine import quarantine_shared

        with fail_or_retry():
            repo = self.repository(write=True)
            catalog = repo.catalog()
            verdict = self._verdict(repo, catalog, context)
            self.link(context, backup_id=verdict.backup_id, verdict_id=verdict.verdict_id)
            shared = quarantine_shared(repo, catalog, verdict)
        step = next_step(verdict.attempt, Blame.BACKUP, fallback=self.find_cluster().fallback)
        result = {
            "backup_id": verdict.backup_id,
            "reason": verdict.failure.message if verdict.failure else verdict.reason,
            "quarantined": [verdict.backup_id, *(v.backup_id for v in shared)],
            "attempt": verdict.attempt,
            "follows": step.attempt,
        }
        self._announce(context, result)
        if not (self.backup_id or self.attempt) and step.attempt is None:
            raise AirflowFailException(
                f"Quarantined {verdict.backup_id}, and the cluster's fallback is none: {result['reason']}"
            )
        return result

    def _verdict(self, repo: Repository, catalog: Catalog, context: Context) -> Verdict:
        if self.backup_id:
            return self._by_decision(repo, self.backup_id, run_owner(context))
        if verdict := catalog.evidence(run_owner(context), self.attempt):
            return verdict
        if self.attempt:
            raise AirflowSkipException(f"The attempt {self.attempt} recorded no evidence against a backup.")
        raise PreflightFailed(
            f"Run {run_owner(context)} recorded no evidence against a backup.",
            hint="To quarantine a backup by decision, give backup_id and reason.",
        )

    def _by_decision(self, repo: Repository, backup_id: str, owner: str) -> Verdict:
        from airflow_restore_replay.core.repository.quarantine import quarantine_by_hand

        if not self.reason:
            raise PreflightFailed(
                f"Quarantining {backup_id} needs a reason.", hint="Give the operator a reason."
            )
        return quarantine_by_hand(repo, backup_id, run=owner, by=owner, reason=self.reason)

    def _announce(self, context: Context, result: dict[str, Any]) -> None:
        self.log.error("Quarantined %s: %s", ", ".join(result["quarantined"]), result["reason"])
        # An unreachable chat must not prevent the fresh full.
        call_all(self.on_quarantine, {**context, "quarantine": result})
