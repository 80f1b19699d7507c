"""Decide what the run does after an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.branch import BranchMixIn

from airflow_restore_replay.compat import AirflowFailException, AirflowSkipException
from airflow_restore_replay.core.decisions.attempts import REPLAY
from airflow_restore_replay.operators.base import (
    ClusterOperator,
    fail_or_retry,
    push_result,
    run_as_of,
    run_owner,
)
from airflow_restore_replay.operators.links import VerdictLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.decisions.diagnose import Diagnosis


class DiagnoseCycleOperator(ClusterOperator, BranchMixIn):
    """Task that branches on what the run *recorded* about its base, not on the states of its tasks.

    Evidence against the base leads to its quarantine and a fresh full. A stranded or missing base leads to a fresh
    full. In all other cases nothing is known about the base, and the run fails here, naming the cause. A backfill
    fails here after any error, because a fresh full cannot be the backup of a past time.

    :param choice: the result of a :class:`ChooseBaseOperator`.
    :param published_task_id: task to run if the attempt published a backup.
    :param quarantine_task_id: task to run on evidence against the base.
    :param full_task_id: task to run if there is no base to replay from.
    :param fallback_task_id: task to run if the base can no longer be used; *full_task_id* unless given.
    :param attempt: the attempt that has ended; the task is skipped if that attempt was not needed.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "choice")
    ui_color = "#fff6c9"
    inherits_from_skipmixin = True
    operator_extra_links = (VerdictLink(),)

    def __init__(
        self,
        *,
        choice: Any,
        published_task_id: str,
        quarantine_task_id: str,
        full_task_id: str,
        fallback_task_id: str | None = None,
        attempt: str = REPLAY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.choice = choice
        self.published_task_id = published_task_id
        self.quarantine_task_id = quarantine_task_id
        self.full_task_id = full_task_id
        self.fallback_task_id = fallback_task_id
        self.attempt = attempt

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_restore_replay.core.decisions.diagnose import Diagnosis, Next, diagnose

        if self.choice is None and self.attempt != REPLAY:
            raise AirflowSkipException("No older base was needed.")
        if not isinstance(self.choice, dict):
            raise AirflowFailException(f"No base was chosen.{self._culprits(context)}")
        with fail_or_retry():
            catalog = self.repository().catalog().without(self.choice.get("before", ()))
            found = diagnose(
                catalog,
                run=run_owner(context),
                had_base=bool(self.choice["backup_id"]),
                as_of=run_as_of(context),
                fallback=self.find_cluster().fallback,
                attempt=self.attempt,
            )
            if self.choice.get("existing_id"):
                found = Diagnosis(Next.PUBLISHED, str(self.choice["reason"]))
        self.log.info("Diagnosis: %s (%s)", found.next, found.reason)
        self.link(context, verdict_id=found.verdict.verdict_id if found.verdict else None)
        branch = self._branches(found).get(found.next.value)
        if branch is None:
            raise AirflowFailException(_explain(found) + self._culprits(context))
        result = {
            "next": found.next.value,
            "reason": found.reason,
            "verdict_id": found.verdict.verdict_id if found.verdict else None,
        }
        push_result(context, result)
        self.do_branch(context, branch)
        return result

    def _branches(self, found: Diagnosis) -> dict[str, str]:
        after = self.fallback_task_id if found.verdict else None
        return {
            "published": self.published_task_id,
            "quarantine": self.quarantine_task_id,
            "full": after or self.full_task_id,
        }

    def _culprits(self, context: Context) -> str:
        """Return a sentence with this run's failed tasks. It is for the reader and decides nothing."""
        ti: Any = context["ti"]
        try:
            states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
        except Exception:
            self.log.warning("The states of the run's tasks cannot be read.", exc_info=True)
            return ""
        failed = sorted(task_id for task_id, state in states.items() if state == "failed")
        return f" Failed: {', '.join(failed)}." if failed else ""


def _explain(found: Diagnosis) -> str:
    failure = found.failure
    if failure is None:
        return f"The cycle failed: {found.reason}."
    return f"The cycle failed by {failure.blame}: {failure.code}: {failure.message} {failure.hint}".rstrip()
