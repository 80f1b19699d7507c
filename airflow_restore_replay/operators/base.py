"""Base of all operators: the cluster, the run, blame, and jobs on a node."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.configuration import conf
from airflow.sdk import BaseOperator

from airflow_restore_replay.compat import (
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
    redacted,
)
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decoding import plain
from airflow_restore_replay.core.errors import PreflightFailed, RestoreReplayError
from airflow_restore_replay.core.jobs.protocol import JobName, JobStatus
from airflow_restore_replay.hooks.clusters import find_cluster
from airflow_restore_replay.hooks.replay_node import ReplayNodeHook
from airflow_restore_replay.hooks.repository import RepositoryHook
from airflow_restore_replay.hooks.task_state import ENDED_BY_USER, task_state
from airflow_restore_replay.operators.links import BackupLink, VerdictLink, push_links
from airflow_restore_replay.triggers.job import JobTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.repository.repository import Repository
    from airflow_restore_replay.operators.lineage import Lineage

Callback = Callable[[Any], Any]

log = logging.getLogger(__name__)

#: Wait this long before deferring. To resume after a deferral costs the start of a worker, which takes longer than
#: this. Airflow 3.3 also treats a task as failed if it resumes before a busy scheduler has recorded its deferral.
DEFER_AFTER_S = 5.0
#: XCom of a failed task, for the message about its run
NOTED_FAILURE = "failure"


@contextmanager
def fail_or_retry() -> Iterator[None]:
    """Let Airflow retry the task if a retry can help, and fail it at once otherwise.

    The message is logged first, so that it stands above the traceback in the task's log.

    :raises AirflowFailException: a verdict, or a refusal that a person must resolve.
    :raises RestoreReplayError: a retryable error; Airflow retries the task.
    """
    try:
        yield
    except RestoreReplayError as exc:
        log.error("%s: %s", exc.code, exc)
        _note_failure(exc)
        if exc.retryable:
            raise
        raise AirflowFailException(f"{exc.code}: {exc}") from exc


def _note_failure(exc: RestoreReplayError) -> None:
    """Note what failed, because the callback of the run has no exception, and an early failure has no record."""
    from airflow.sdk import get_current_context

    failure = {"code": exc.code, "blame": exc.blame.value, "message": redacted(exc.message)}
    hint = redacted(exc.hint or exc.advice)
    try:
        get_current_context()["ti"].xcom_push(NOTED_FAILURE, {**failure, "hint": hint})
    except Exception as problem:
        log.debug("The failure is not noted: %s", problem)


def run_owner(context: Context) -> str:
    """Return the run's name in the lease and in all records."""
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}"


def run_as_of(context: Context) -> datetime | None:
    """Return the past time whose backup the run rebuilds: the end of a backfill's interval, or the parameter ``as_of``.

    None for all other runs: they back up the current state, whatever their logical date.

    :raises PreflightFailed: the backfill has no data interval, or the parameter is no time with its zone.
    """
    from airflow_restore_replay.core.times import truncate_to_seconds

    run: Any = context["dag_run"]
    if str(getattr(run.run_type, "value", run.run_type)) != "backfill":
        given = context["params"].get("as_of")
        return truncate_to_seconds(_time(str(given))) if given else None
    if run.data_interval_end is None:
        raise PreflightFailed(
            f"Backfill {run.run_id} has no data interval, so there is no time whose backup it could rebuild.",
            hint="Give the DAG a schedule with intervals, for example CronDataIntervalTimetable.",
        )
    return truncate_to_seconds(run.data_interval_end)


def _time(text: str) -> datetime:
    """Return the time that a person gave as parameter.

    :raises PreflightFailed: it is no time, or has no time zone.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise PreflightFailed(
            f"The parameter as_of is {text!r}, which is no time with its zone.",
            hint="Write it as 2026-08-21T03:00:00Z.",
        )
    return at


def job_key(context: Context) -> str:
    """Return the idempotency key of the task's job: the same over retries, new after a clear.

    It ends in the number of tries that Airflow has granted the task. A clear grants more, and nothing else changes the
    number: the task's ``retries`` may be edited in the DAG file while the job runs.
    """
    return _key(context, _granted_tries(context))


def earlier_keys(context: Context) -> list[str]:
    """Return the keys that the task's jobs may have had before it was cleared."""
    return [_key(context, number) for number in range(_granted_tries(context))]


def _granted_tries(context: Context) -> int:
    ti: Any = context["ti"]
    return int(ti.max_tries)


def _key(context: Context, number: int) -> str:
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}/{number}"


def push_result(context: Context, result: dict[str, Any]) -> None:
    """Push the result of a branching task: branching may end the task by an exception, which loses a returned value."""
    for key, value in {**result, "return_value": result}.items():
        context["ti"].xcom_push(key=key, value=value)


def call_all(callbacks: Callback | Sequence[Callback], context: Any) -> None:
    """Call one callback or several; an exception in one is logged and has no other effect."""
    for callback in callbacks if isinstance(callbacks, Sequence) else [callbacks]:
        try:
            callback(context)
        except Exception:
            log.exception("Callback %r failed.", callback)


class ClusterOperator(BaseOperator):
    """Base of all operators and sensors that work for one cluster.

    :param cluster: the cluster, or its name in the cluster file.
    :param config: path of the cluster file; default is the variable ``RESTORE_REPLAY_CONFIG`` of the worker.
    """

    template_fields: Sequence[str] = ("cluster", "config")
    ui_color = "#e8f0f7"

    def __init__(self, *, cluster: str | Cluster, config: str | None = None, **kwargs: Any) -> None:
        # Results are mappings; this makes `task.output["backup_id"]` work in DAGs.
        super().__init__(**{"multiple_outputs": True, **kwargs})
        self.cluster = cluster
        self.config = config

    def find_cluster(self) -> Cluster:
        return find_cluster(self.cluster, self.config)

    def repository(self, *, write: bool = False) -> Repository:
        return RepositoryHook(self.find_cluster()).open(write=write)

    def link(self, context: Context, *, backup_id: str | None = None, verdict_id: str | None = None) -> None:
        """Link the task to records of the repository."""
        cluster = self.find_cluster()
        spec = RepositoryHook(cluster).resolved
        push_links(context, cluster.name, spec, backup_id=backup_id, verdict_id=verdict_id)


class WithLineage:
    """Mixin of the tasks whose lineage the provider asks for."""

    _lineage: Lineage | None = None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what the task read and wrote; None if it did not get that far."""
        return self._lineage.facets() if self._lineage else None


class NodeJobOperator(WithLineage, ClusterOperator):
    """Base of the tasks that run a job on a replay node: submit it, wait or defer, push its result to XCom.

    The job lives on the node, not in the task. A retry finds the job by its key and attaches to it; a cleared task
    starts a new one.

    :param node: the result of a :class:`CreateReplayNodeOperator`.
    :param deferrable: wait in the triggerer, without a worker slot.
    """

    job: ClassVar[JobName]
    #: whether the node is of this job only, and is destroyed when a user kills the deferred task
    owns_node: ClassVar[bool] = False
    operator_extra_links = (BackupLink(), VerdictLink())
    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "node")
    _watched: tuple[ReplayNodeHook, str, Any] | None = None

    def __init__(
        self,
        *,
        node: Any,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.node = node
        self.deferrable = deferrable

    def job_params(self) -> dict[str, Any]:
        """Return the job's own parameters."""
        return {}

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_or_retry():
            self._require_node()
            hook, key = self._watch(context)
            self.link(context, backup_id=self._backup_id())
            state = hook.submit(self.node, job=self.job, key=key, params=self.job_params())
            self.log.info("Job %s of node %s: attempt %d.", self.job, self.node["node_id"], state.attempt_no)
            if self.deferrable:
                state = hook.wait(self.node, key, on_progress=self.log.info, at_most_s=DEFER_AFTER_S)
            if state.status is JobStatus.RUNNING and self.deferrable:
                self._defer(hook.cluster, key)
            return self._finish(context, hook, key)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Resume after the trigger woke the task, and read the job's state from the node."""
        self.log.info("The triggerer reports: %s, %s.", event["status"], event["seen"])
        with fail_or_retry():
            return self._finish(context, *self._watch(context))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume a deferred task; cancel its job if the task timed out while deferred."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self._cancel(*self._watch(context))
            raise

    def on_kill(self) -> None:
        """Cancel the job if a user ended the task, or if the task timed out.

        The task's process also ends if its worker shuts down, or if Airflow gave up on the worker because its
        scheduler died. The job keeps running then, and the retry attaches to it.
        """
        if self._watched is None:
            return
        hook, key, ti = self._watched
        if isinstance(sys.exc_info()[1], AirflowTaskTimeout) or task_state(ti) in ENDED_BY_USER:
            self._cancel(hook, key)
        else:
            self.log.warning(
                "No user ended this task: job %s keeps running, and the retry attaches to it.", self.job
            )

    def _cancel(self, hook: ReplayNodeHook, key: str) -> None:
        self.log.warning("Cancelling job %s of node %s.", self.job, self.node["node_id"])
        hook.cancel(self.node, key)

    def _watch(self, context: Context) -> tuple[ReplayNodeHook, str]:
        hook, key = ReplayNodeHook(self.find_cluster()), job_key(context)
        self._watched = hook, key, context["ti"]
        return hook, key

    def _defer(self, resolved: Cluster, key: str) -> NoReturn:
        self.defer(
            trigger=JobTrigger(cluster=plain(resolved), node=self.node, key=key, owns_node=self.owns_node),
            method_name="execute_complete",
            timeout=self.execution_timeout,
        )

    def _backup_id(self) -> str | None:
        """Return the id of the backup that the job is about, as far as the task knows it."""
        return None

    def _finish(self, context: Context, hook: ReplayNodeHook, key: str) -> dict[str, Any]:
        from airflow_restore_replay.core.jobs.result_lines import result_lines
        from airflow_restore_replay.core.runtime.client import result_of
        from airflow_restore_replay.operators.lineage import Lineage

        state = hook.wait(self.node, key, on_progress=self.log.info)
        self.link(context, backup_id=state.result.get("backup_id"), verdict_id=state.verdict_id)
        result = result_of(state)
        self._lineage = self._lineage_of(Lineage(hook.cluster), result)
        for line in result_lines(self.job, result):
            self.log.info("%s", line)
        return result

    def _lineage_of(self, lineage: Lineage, result: dict[str, Any]) -> Lineage:
        """Return what the job read and wrote."""
        if self.job in (JobName.SEED, JobName.CATCH_UP):
            lineage.read_primary()
        elif self.job is JobName.RESTORE:
            lineage.read_backup(str(self._backup_id() or result.get("backup_id", "")))
        elif self.job is JobName.SNAPSHOT:
            lineage.write_backup(str(result.get("backup_id", "")))
        return lineage

    def _require_node(self) -> None:
        if not isinstance(self.node, dict) or "run" not in self.node:
            raise PreflightFailed(
                f"Task {self.task_id} has no replay node: `node` is of the type {type(self.node).__name__}.",
                hint="Pass the output of a CreateReplayNodeOperator as node.",
            )
