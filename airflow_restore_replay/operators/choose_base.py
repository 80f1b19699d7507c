"""Which backup the cycle replays from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.branch import BranchMixIn

from airflow_restore_replay.compat import AirflowFailException
from airflow_restore_replay.operators.base import ClusterOperator, blame, push_result
from airflow_restore_replay.operators.links import BackupLink

if TYPE_CHECKING:
    from airflow.sdk import Context


class ChooseBaseOperator(ClusterOperator, BranchMixIn):
    """Choose the newest healthy proven backup as base, and branch on whether there is one.

    Pushes ``backup_id`` (None without a base), ``reason`` and ``skipped``: newer backups that were passed over.

    :param replay_task_id: followed when there is a base.
    :param no_base_task_id: followed when there is none, or a full was asked for.
    :param force_full: take a fresh full whatever there is.
    :param base_backup_id: use exactly this backup.
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
        from airflow_restore_replay.core.cycle import choose_base

        _refuse_backfill(context)
        with blame():
            choice = choose_base(
                self.repository(write=True).catalog(),
                force_full=str(self.force_full).lower() == "true",
                base_backup_id=self.base_backup_id or None,
            )
        for passed_over, why in choice.skipped.items():
            self.log.warning("Passed over %s: %s", passed_over, why)
        backup_id = choice.base.backup_id if choice.base else None
        self.log.info("Base: %s (%s)", backup_id or "none, a fresh full follows", choice.reason)
        result = {"backup_id": backup_id, "reason": choice.reason, "skipped": choice.skipped}
        push_result(context, result)
        self.link(context, backup_id=backup_id)
        self.do_branch(context, self.replay_task_id if backup_id else self.no_base_task_id)
        return result


def _refuse_backfill(context: Context) -> None:
    run: Any = context["dag_run"]
    if str(getattr(run.run_type, "value", run.run_type)) == "backfill":
        raise AirflowFailException(
            f"Run {run.run_id} is a backfill, which would file today's data under a past date. "
            "Trigger the DAG instead: a backup always shows the time at which it was taken."
        )
