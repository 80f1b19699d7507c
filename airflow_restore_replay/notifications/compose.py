"""Make a message from an Airflow context. It never raises: a failure must be announced even if the store is down."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_restore_replay.compat import AirflowFailException, redacted
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure, fingerprint
from airflow_restore_replay.notifications.memory import LASTING
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
    return compose(context, cluster=cluster).message


@dataclass(frozen=True)
class Told:
    """A message, and by which its repetition is recognised.

    :param key: the finding; the same in each run that finds it.
    :param covers: further findings that the message tells of.
    :param at: when the message was made.
    :param succeeded_before: when a run succeeded last; None if that is not known, or if this one has.
    """

    message: CycleMessage
    key: str
    covers: tuple[str, ...]
    at: datetime
    dag_id: str
    repeat_after_s: float
    succeeded_before: datetime | None


@dataclass(frozen=True)
class _Draft:
    """The texts of a message, and its finding; see :class:`Told`."""

    key: str
    title: str
    what: str
    todo: str
    blames: str = ""
    backup_id: str = ""
    log_url: str = ""
    covers: tuple[str, ...] = ()


def compose(context: Any, *, cluster: str | Cluster | None = None) -> Told:
    """Return the message of :func:`message`, and what is needed to tell it once."""
    from airflow_restore_replay.core.repository.format.records import utc_now

    scene = RunFacts(context, cluster)
    occasion = occasion_of(context)
    draft = _WRITERS[occasion](scene)
    made = CycleMessage(
        occasion=occasion,
        cluster=scene.name,
        age=scene.age,
        run=scene.run,
        title=redacted(f"{scene.name}: {draft.title}" if scene.name else draft.title),
        what=redacted(draft.what),
        blames=draft.blames,
        backup_id=draft.backup_id,
        todo=redacted(draft.todo),
        log_url=redacted(draft.log_url or scene.log_url()),
    )
    success = scene.succeeded_before if occasion in (TASK_FAILURE, RUN_FAILURE) else None
    dag_id = scene.run.partition("/")[0]
    return Told(made, draft.key, draft.covers, utc_now(), dag_id, scene.repeat_after_s, success)


def dag_id_of(context: Any) -> str:
    """Return the id of the DAG that a callback's context is about."""
    return RunFacts(context).run.partition("/")[0]


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


def _task_failure(scene: RunFacts) -> _Draft:
    task_id = scene.ti.task_id if scene.ti is not None else "a task"
    exc = scene.context.get("exception") or "Its process is gone: killed, or lost with its worker."
    known = _known(exc)
    verdict = scene.culprit
    failure = known or (verdict.failure if verdict else None)
    follows = scene.follows(verdict, failure)
    # A teardown that fails does not fail its run.
    final = follows is None and not getattr(scene.ti.task, "is_teardown", False) if scene.ti else True
    quarantined = scene.quarantined_by(failure)
    consequences = [f"backup {quarantined} is quarantined"] if quarantined else []
    if final and scene.makes_backups and not scene.published_id:
        consequences.append("there is no new backup")
    todo = advice(failure, follows=follows, cycle=scene.makes_backups)
    return _Draft(
        # A failure that the run still mends is not the one that ends it.
        key=_key(failure, task_id) if final else f"{LASTING}passing:{_key(failure, task_id)}",
        covers=(_quarantine_key([quarantined]),) if quarantined else (),
        title=", ".join([f"{task_id} failed", *consequences]),
        what=f"{task_id}: {describe(known) if known else exc}",
        blames=blames(failure),
        backup_id=scene.backup_id,
        todo=f"{todo} {_evidence(quarantined)}" if quarantined else todo,
    )


def _key(failure: Failure | None, task_id: str) -> str:
    if failure is None:
        return f"{LASTING}no record of {task_id}"
    if failure.code == "Stale":
        return f"{LASTING}Stale"  # its message has an age, whose form changes as it grows
    return LASTING + (failure.fingerprint or fingerprint(failure.code, failure.message))


def _quarantine_key(backup_ids: list[str]) -> str:
    return f"quarantine:{','.join(sorted(backup_ids))}"


def _evidence(backup_id: str) -> str:
    return f"`restore-replay show {backup_id}` has the evidence."


def _known(exc: BaseException | str) -> Failure | None:
    """Return the failure that ended the task.

    None if there is only a text: an operator's, or Airflow's about a task whose process is gone.
    """
    if isinstance(exc, str):
        return None
    if isinstance(exc.__cause__, RestoreReplayError):
        return Failure.of(exc.__cause__)
    return None if isinstance(exc, AirflowFailException) else Failure.of(exc)


def _run_failure(scene: RunFacts) -> _Draft:
    verdict, noted = scene.culprit, scene.noted
    failure = verdict.failure if verdict else noted.failure if noted else None
    ended_by = scene.failed_tasks[0] if scene.failed_tasks else ""
    if verdict and failure:
        ended_by = scene.task_of(verdict)
        what = f"{ended_by}: {describe(failure)}{scene.aside}"
    elif noted and failure:
        ended_by = noted.task_id
        what = f"{ended_by}: {describe(failure)}"
    elif ended_by:
        what = f"Failed: {', '.join(scene.failed_tasks)}."
    else:
        what = "" if scene.published_id else "No attempt left a record of what failed."
    if scene.published_id:
        what = f"{what} The run failed after it had published {scene.published_id}.".strip()
    return _Draft(
        key=_key(failure, ended_by),
        title=_title_of_run(scene),
        what=what,
        blames=blames(failure),
        backup_id=scene.backup_id,
        todo=advice(failure, follows=None, cycle=scene.makes_backups),
        log_url=scene.log_url(ended_by),
    )


def _title_of_run(scene: RunFacts) -> str:
    if not scene.makes_backups:
        return f"a run of {scene.run.partition('/')[0]} failed"
    return "the run failed" if scene.published_id else "the run failed, there is no new backup"


def _quarantine(scene: RunFacts) -> _Draft:
    found = scene.context["quarantine"]
    first, *others = found["quarantined"]
    also = f" Also quarantined for the same damage: {', '.join(others)}." if others else ""
    return _Draft(
        key=_quarantine_key(found["quarantined"]),
        title=f"backup {first} is quarantined",
        what=f"{found['reason']}{also}",
        blames="the backup",
        backup_id=first,
        todo=f"Nothing is urgent: it is not used any more, and {_what_follows(found)}. {_evidence(first)}",
    )


def _what_follows(found: dict[str, Any]) -> str:
    if follows := found.get("follows"):
        return FOLLOWS[follows]
    ended = "; this run is red" if found.get("attempt") else ""
    return f"the next run starts from the newest healthy backup, or takes a fresh full{ended}"


def _recovery(scene: RunFacts) -> _Draft:
    found = scene.context["recovery"]
    backup_id = found["backup_id"]
    if not backup_id:
        dag_id = scene.run.partition("/")[0]
        title, what = f"runs of {dag_id} succeed again", f"The first success after: {found['after']}"
    else:
        title = "there is a new backup again"
        what = f"Published {backup_id}, the first after: {found['after']}"
    return _Draft(
        key=f"recovery:{backup_id or scene.run}",
        title=title,
        what=what,
        backup_id=backup_id,
        todo=found["todo"],
    )


def _gap(scene: RunFacts) -> _Draft:
    found = scene.context["gap"]
    return _Draft(
        key=f"gap:{found['lacking']}",
        title="the archive has a gap",
        what=f"The archive lacks {found['lacking']}: {found['reason']}",
        backup_id=found["backup_id"],
        todo="Moments in the gap cannot be restored; those before and after it can. "
        "`restore-replay list` names them. Keep the primary's binary logs longer than the archiver may be away.",
    )


_WRITERS = {
    TASK_FAILURE: _task_failure,
    RUN_FAILURE: _run_failure,
    QUARANTINE: _quarantine,
    RECOVERY: _recovery,
    GAP: _gap,
}
