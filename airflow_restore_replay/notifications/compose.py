"""Make a message from an Airflow context. It never raises: a failure must be announced even if the store is down."""

from __future__ import annotations

import logging
from typing import Any

from airflow_restore_replay.compat import AirflowFailException, redacted
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.notifications.message_texts import (
    FOLLOWS,
    GAP,
    QUARANTINE,
    RECOVERY,
    RUN_FAILURE,
    TASK_FAILURE,
    CycleMessage,
    advice,
    blames,
    describe,
)
from airflow_restore_replay.notifications.run_facts import RunFacts

log = logging.getLogger(__name__)


def message(context: Any, *, cluster: str | Cluster | None = None) -> CycleMessage:
    """Return the message about the occasion of *context*, for any notifier.

    :param context: the context of a callback, from Airflow or one of the operators: of a failed task, a failed run, a
        quarantine, a recovery or a gap.
    :param cluster: the cluster, if the context's tasks do not name it. A DAG with several clusters needs it for its
        runs.
    """
    scene = RunFacts(context, cluster)
    occasion = occasion_of(context)
    parts = _WRITERS[occasion](scene)
    return CycleMessage(
        occasion=occasion,
        cluster=scene.name,
        age=scene.age,
        run=scene.run,
        **{"log_url": scene.log_url(), **{k: redacted(v) for k, v in parts.items()}},
    )


def occasion_of(context: Any) -> str:
    """Return which of the occasions a callback's context is about."""
    if "quarantine" in context:
        return QUARANTINE
    if "recovery" in context:
        return RECOVERY
    if "gap" in context:
        return GAP
    # A run's callback gets a reason from Airflow. A task whose process was killed has neither reason nor exception.
    return RUN_FAILURE if "reason" in context or "ti" not in context else TASK_FAILURE


def _task_failure(scene: RunFacts) -> dict[str, str]:
    task_id = scene.ti.task_id if scene.ti is not None else "a task"
    exc = scene.context.get("exception") or "Its process is gone: killed, or lost with its worker."
    known = _known(exc)
    verdict = scene.culprit
    failure = known or (verdict.failure if verdict else None)
    return {
        "title": f"{scene.name}: {task_id} failed",
        "what": f"{task_id}: {describe(known) if known else exc}",
        "blames": blames(failure),
        "backup_id": scene.backup_id,
        "todo": advice(failure, follows=scene.follows(verdict, failure)),
    }


def _known(exc: BaseException | str) -> Failure | None:
    """Return the failure that ended the task.

    None if there is only a text: an operator's, or Airflow's about a task whose process is gone.
    """
    if isinstance(exc, str):
        return None
    if isinstance(exc.__cause__, RestoreReplayError):
        return Failure.of(exc.__cause__)
    return None if isinstance(exc, AirflowFailException) else Failure.of(exc)


def _run_failure(scene: RunFacts) -> dict[str, str]:
    verdict = scene.culprit
    failure = verdict.failure if verdict else None
    if verdict and failure:
        where = scene.task_of(verdict)
        what, url = f"{where}: {describe(failure)}{scene.aside}", scene.log_url(where)
    elif scene.published_id:
        what, url = f"The run failed after it had published {scene.published_id}.", scene.log_url()
    else:
        failed = ", ".join(scene.failed_tasks)
        what = f"Failed: {failed}." if failed else "No attempt left a record of what failed."
        url = scene.log_url(scene.failed_tasks[0] if scene.failed_tasks else "")
    return {
        "title": f"{scene.name}: the run failed" + ("" if scene.published_id else ", there is no new backup"),
        "what": what,
        "blames": blames(failure),
        "backup_id": scene.backup_id,
        "todo": advice(failure, follows=None),
        "log_url": url,
    }


def _quarantine(scene: RunFacts) -> dict[str, str]:
    found = scene.context["quarantine"]
    first, *others = found["quarantined"]
    also = f" Also quarantined for the same damage: {', '.join(others)}." if others else ""
    return {
        "title": f"{scene.name}: backup {first} is quarantined",
        "what": f"{found['reason']}{also}",
        "blames": "the backup",
        "backup_id": first,
        "todo": f"Nothing is urgent: it is not used any more, and {_what_follows(found)}. "
        f"`restore-replay show {first}` has the evidence.",
    }


def _what_follows(found: dict[str, Any]) -> str:
    if follows := found.get("follows"):
        return FOLLOWS[follows]
    ended = "; this run is red" if found.get("attempt") else ""
    return f"the next run starts from the newest healthy backup, or takes a fresh full{ended}"


def _recovery(scene: RunFacts) -> dict[str, str]:
    found = scene.context["recovery"]
    return {
        "title": f"{scene.name}: there is a new backup again",
        "what": f"Published {found['backup_id']}, the first after: {found['after']}",
        "blames": "",
        "backup_id": found["backup_id"],
        "todo": found["todo"],
    }


def _gap(scene: RunFacts) -> dict[str, str]:
    found = scene.context["gap"]
    return {
        "title": f"{scene.name}: the archive has a gap",
        "what": f"The archive lacks {found['lacking']}: {found['reason']}",
        "blames": "",
        "backup_id": found["backup_id"],
        "todo": "Moments in the gap cannot be restored; those before and after it can. "
        "`restore-replay list` names them. Keep the primary's binary logs longer than the archiver may be away.",
    }


_WRITERS = {
    TASK_FAILURE: _task_failure,
    RUN_FAILURE: _run_failure,
    QUARANTINE: _quarantine,
    RECOVERY: _recovery,
    GAP: _gap,
}
