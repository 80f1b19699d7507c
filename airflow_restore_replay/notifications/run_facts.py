"""Facts about the run of a callback, from the callback's context and the repository's records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.configuration import conf

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.sections import Notify
from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.decisions.attempts import REPLAY, JobName, next_step
from airflow_restore_replay.hooks.clusters import find_cluster
from airflow_restore_replay.notifications.reading import attempted, in_time
from airflow_restore_replay.operators.base import NOTED_FAILURE, run_as_of

if TYPE_CHECKING:
    from airflow_restore_replay.core.errors.failure import Failure
    from airflow_restore_replay.core.repository.catalog import Catalog
    from airflow_restore_replay.core.repository.format.records import Verdict

#: Job → task of the shipped DAG, where their names differ.
_USUAL = {"restore": "restore_backup"}
#: Tolerated difference between the clocks of nodes and scheduler.
_SKEW = timedelta(minutes=1)


@dataclass(frozen=True)
class Noted:
    """What a failed task of this package noted for the run's message."""

    task_id: str
    failure: Failure


class RunFacts:
    """Facts about the run that a callback's context is about.

    :param context: a callback's context.
    :param cluster: see :func:`~.compose.message`.
    """

    def __init__(self, context: Any, cluster: str | Cluster | None = None) -> None:
        self.context = context
        self.ti: Any = context.get("ti")
        task = getattr(self.ti, "task", None)
        self.dag: Any = context.get("dag") or (task.dag if task is not None and task.has_dag() else None)
        self._named = cluster

    @property
    def run(self) -> str:
        """Return the run's name in records."""
        dag_id = getattr(self.ti, "dag_id", None) or getattr(self.dag, "dag_id", "")
        return f"{dag_id}/{self._run_id}"

    @property
    def name(self) -> str:
        """Return the cluster's name; empty if the context is not about exactly one cluster."""
        named = self._cluster_value
        return named.name if isinstance(named, Cluster) else str(named or "")

    @property
    def makes_backups(self) -> bool:
        """Return whether the DAG makes backups, so that a failed run leaves none."""
        # The serialized DAG of `dag.test()` has the names of its operators' classes only.
        return any(
            getattr(task, "job", None) == JobName.SNAPSHOT or task.task_type == "SnapshotOperator"
            for task in getattr(self.dag, "tasks", ())
        )

    @property
    def repeat_after_s(self) -> float:
        """Return after which time a failure that lasts is told again, by the cluster or by default."""
        if self._cluster_value is None:
            return float(Notify().repeat_after)
        cluster = attempted(
            lambda: find_cluster(self._cluster_value, self._config), "The cluster file cannot be read."
        )
        return float((cluster.notify if cluster else Notify()).repeat_after)

    @property
    def succeeded_before(self) -> datetime | None:
        """Return when the DAG succeeded last: its last backup or run; None if that is not known."""
        if self.makes_backups:
            made = [m.created_at for m in self.catalog.manifests if not m.as_of] if self.catalog else []
            return max(made, default=None)
        if self.ti is None:
            return None
        run = attempted(lambda: self.ti.get_previous_dagrun(state="success"), "The run before is not known.")
        return getattr(run, "end_date", None) or getattr(run, "start_date", None)

    @cached_property
    def catalog(self) -> Catalog | None:
        """Return the repository's records; None if they cannot be read in time."""
        return attempted(self._read_catalog, "The repository cannot be read for a notification.")

    @cached_property
    def age(self) -> str:
        """Return the age of the newest healthy backup in words, or why it is unknown."""
        from airflow_restore_replay.core.decisions.freshness import freshness
        from airflow_restore_replay.core.repository.format.records import utc_now

        if not self.name:
            return ""
        if self.catalog is None:
            return "unknown: the repository cannot be read"
        found = freshness(self.catalog, now=utc_now())
        if found.backup is None:
            return "unknown: there is none"
        return f"{human_seconds(found.age_s)} old ({found.backup.backup_id})"

    @cached_property
    def attempts(self) -> list[Verdict]:
        """Return the verdicts that this run recorded since it was started or last cleared, oldest first."""
        since = getattr(self.context.get("dag_run"), "start_date", None)
        recorded = self.catalog.attempts(self.run) if self.catalog else []
        return [v for v in recorded if since is None or v.at >= since - _SKEW]

    @cached_property
    def culprit(self) -> Verdict | None:
        """Return the verdict of the attempt that decided; None if the run published or recorded nothing."""
        for verdict in reversed(self.attempts):
            if verdict.failure is not None:
                return verdict
            if verdict.published_id:
                return None
        return None

    @property
    def published_id(self) -> str:
        """Return the id of the backup that this run published; empty if none."""
        return next((v.published_id for v in reversed(self.attempts) if v.published_id), "")

    @property
    def aside(self) -> str:
        """Return a sentence about backups that the run excluded, or no longer excludes, before it failed."""
        from airflow_restore_replay.core.repository.format.records import Outcome

        withdrawn = [v for v in self.attempts if v.outcome is Outcome.WITHDRAWN]
        if withdrawn:
            return f" The quarantine of {withdrawn[-1].backup_id} was withdrawn: {withdrawn[-1].reason}."
        excluded = [
            v
            for v in self.attempts
            if v.outcome in (Outcome.QUARANTINED, Outcome.STRANDED) and v is not self.culprit
        ]
        return (
            f" Before that, backup {excluded[-1].backup_id} was {excluded[-1].outcome}." if excluded else ""
        )

    def quarantined_by(self, failure: Failure | None) -> str:
        """Return the id of the backup that this run quarantined for *failure*; empty if none."""
        from airflow_restore_replay.core.repository.format.records import Outcome

        verdict = self.culprit
        found = verdict is not None and verdict.outcome is Outcome.QUARANTINED and verdict.failure is not None
        if not (verdict and found and failure and verdict.failure):
            return ""
        return verdict.backup_id if verdict.failure.code == failure.code else ""

    @cached_property
    def noted(self) -> Noted | None:
        """Return what the first failed task noted; a failure before any attempt has no other record."""
        from airflow_restore_replay.core.decoding import convert
        from airflow_restore_replay.core.errors.failure import Failure

        for task_id in self.failed_tasks:
            raw = attempted(
                lambda task_id=task_id: self.ti.xcom_pull(task_ids=task_id, key=NOTED_FAILURE),  # type: ignore[misc]
                "What a task noted cannot be read.",
            )
            if isinstance(raw, dict):
                failure = attempted(
                    lambda raw=raw: convert(raw, Failure),  # type: ignore[misc]
                    "What a task noted is damaged.",
                )
                if failure is not None:
                    return Noted(task_id, failure)
        return None

    @property
    def backup_id(self) -> str:
        """Return the id of the backup that the failure is about, or else of the run's base."""
        verdict = self.culprit
        recorded = (verdict.backup_id or str(verdict.measured.get("base", ""))) if verdict else ""
        named = getattr(getattr(self.ti, "task", None), "backup_id", None)
        return recorded or (named if isinstance(named, str) else "") or self._base_id

    @cached_property
    def failed_tasks(self) -> list[str]:
        """Return the ids of this run's failed tasks, as far as Airflow reports them."""
        if self.ti is None:
            return []
        states = attempted(
            lambda: self.ti.get_task_states(dag_id=self.ti.dag_id, run_ids=[self._run_id]),
            "The states of the run's tasks cannot be read.",
        )
        found = (states or {}).get(self._run_id, {})
        return sorted(task_id for task_id, state in found.items() if state == "failed")

    def task_of(self, verdict: Verdict) -> str:
        """Return the id of the task whose job recorded *verdict*; attempt and step if there is no such task."""
        for task in getattr(self.dag, "tasks", ()):
            if getattr(task, "job", None) == verdict.step and self._attempt(task) == verdict.attempt:
                return str(task.task_id)
        usual = f"{verdict.attempt}.{_USUAL.get(verdict.step, verdict.step)}"
        found = [t for t in getattr(self.dag, "task_dict", {}) if f".{t}".endswith(f".{usual}")]
        return found[0] if len(found) == 1 else usual

    def log_url(self, task_id: str = "") -> str:
        """Return the URL of Airflow's page of *task_id*, else of the context's task, else of the run."""
        if not task_id and self.ti is not None and "reason" not in self.context:
            return str(self.ti.log_url)
        base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
        dag_id, _, run_id = self.run.partition("/")
        known = task_id in getattr(self.dag, "task_dict", {})
        return f"{base}/dags/{dag_id}/runs/{quote(run_id)}" + (f"/tasks/{task_id}" if known else "")

    def follows(self, verdict: Verdict | None, failure: Failure | None) -> str | None:
        """Return the attempt of this run that comes after the failed one.

        None if the run is over, or if nothing is known.
        """
        if failure is None or not self.makes_backups:
            return None
        attempt = verdict.attempt if verdict else REPLAY
        return attempted(
            lambda: (
                next_step(
                    attempt,
                    failure.blame,
                    fallback=find_cluster(self._cluster_value, self._config).fallback,
                    as_of=run_as_of(self.context) is not None,
                ).attempt
            ),
            "The next attempt cannot be determined for a notification.",
        )

    @property
    def _run_id(self) -> str:
        return str(self.context.get("run_id") or getattr(self.ti, "run_id", ""))

    @property
    def _cluster_value(self) -> Any:
        if self._named is not None:
            return self._named
        own = getattr(getattr(self.ti, "task", None), "cluster", None)
        # The context of a run has any of its tasks, which says nothing about the run's cluster.
        if isinstance(own, str | Cluster) and "reason" not in self.context:
            return own
        tasks = [getattr(t, "cluster", None) for t in getattr(self.dag, "tasks", ())]
        named = {getattr(c, "name", c): c for c in tasks if isinstance(c, str | Cluster)}
        return next(iter(named.values())) if len(named) == 1 else None

    @property
    def _config(self) -> str | None:
        """Return the path of the cluster file that the context's task names."""
        config = getattr(getattr(self.ti, "task", None), "config", None)
        return config if isinstance(config, str) else None

    @property
    def _base_id(self) -> str:
        ids = getattr(self.dag, "task_dict", {})
        choosers = [i for i, t in ids.items() if hasattr(t, "no_base_task_id") or i.endswith("choose_base")]
        if self.ti is None or not choosers:
            return ""
        chosen = attempted(
            lambda: self.ti.xcom_pull(task_ids=choosers[0], key="backup_id"), "The run's base cannot be read."
        )
        return chosen if isinstance(chosen, str) else ""

    def _attempt(self, task: Any) -> str:
        node = getattr(task, "node", None)
        operator = getattr(node, "operator", None)
        creator = getattr(node, "task_id", None) or getattr(operator, "task_id", "")
        return str(getattr(self.dag.task_dict.get(creator), "attempt", ""))

    def _read_catalog(self) -> Catalog:
        from airflow_restore_replay.core.repository.repository import Repository
        from airflow_restore_replay.hooks.repository import RepositoryHook

        named = self._cluster_value
        if named is None:
            raise LookupError("no task names a cluster")
        hook = RepositoryHook(find_cluster(named, self._config))
        # Airflow's connections are read here, because only this thread may talk to the supervisor.
        spec, credentials, read_keys = hook.resolved, hook.credentials(), hook.key_reader()
        return in_time(
            lambda: Repository.open(
                spec, cluster=hook.cluster.name, credentials=credentials, keys=read_keys(), write=False
            ).catalog()
        )
