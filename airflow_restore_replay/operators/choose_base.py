"""Choose the backup that the cycle replays from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.branch import BranchMixIn

from airflow_restore_replay.operators.base import (
    ClusterOperator,
    fail_or_retry,
    push_result,
    run_as_of,
    run_owner,
)
from airflow_restore_replay.operators.links import BackupLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.decisions.choose import Choice
    from airflow_restore_replay.core.repository.catalog import Catalog


class ChooseBaseOperator(ClusterOperator, BranchMixIn):
    """Task that chooses the newest healthy proven backup as base, and branches on whether there is one.

    Pushes ``backup_id`` (None without a base), ``reason`` and ``skipped``: newer backups that were passed over.

    In a backfill the base is the newest backup from before the end of the run's data interval. The task fails if there
    is none. If the backup as of that time already exists, the task pushes ``existing_id`` and branches as without a
    base.

    :param replay_task_id: task to run if there is a base.
    :param no_base_task_id: task to run if there is none, or if a fresh full was requested.
    :param force_full: take a fresh full even if there is a base.
    :param base_backup_id: use exactly this backup as base.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "force_full", "base_backup_id")
    ui_color = "#fff6c9"
    inherits_from_skipmixin = True
    operator_extra_links = (BackupLink(),)

    def __init__(
        self,
        *,
        replay_task_id: str,
        no_base_task_id: str,
        force_full: bool | str = False,
        base_backup_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.replay_task_id = replay_task_id
        self.no_base_task_id = no_base_task_id
        self.force_full = force_full
        self.base_backup_id = base_backup_id

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_or_retry():
            owner, as_of = run_owner(context), run_as_of(context)
            catalog = self.repository(write=True).catalog()
            choice = self._choose(catalog, owner, as_of)
        for passed_over, why in choice.skipped.items():
            self.log.warning("Skipped %s: %s", passed_over, why)
        backup_id = choice.base.backup_id if choice.base else None
        result: dict[str, Any] = {
            "backup_id": backup_id,
            "reason": choice.reason,
            "skipped": choice.skipped,
        }
        if before := catalog.records_of(owner):
            # The run was cleared: records of its earlier execution must not decide this one.
            result["before"] = before
        if choice.existing:
            self.log.info("Nothing to do: %s, %s.", choice.existing.backup_id, choice.reason)
            result["existing_id"] = choice.existing.backup_id
        else:
            self.log.info("Base: %s (%s)", backup_id or "none, a fresh full follows", choice.reason)
        push_result(context, result)
        self.link(context, backup_id=backup_id or result.get("existing_id"))
        self.do_branch(context, self.replay_task_id if backup_id else self.no_base_task_id)
        return result

    def _choose(self, catalog: Catalog, owner: str, as_of: datetime | None) -> Choice:
        from airflow_restore_replay.core.decisions.choose import choose
        from airflow_restore_replay.core.repository.format.records import utc_now

        return choose(
            catalog,
            run=owner,
            as_of=as_of,
            force_full=str(self.force_full).lower() == "true",
            base_backup_id=self.base_backup_id or None,
            full_every=self.find_cluster().full_every,
            now=utc_now(),
        )
