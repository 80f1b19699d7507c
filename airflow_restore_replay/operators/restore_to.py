"""Restore to a directory of the worker's host, for people and staging servers, and drills of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import BackupFault, PreflightFailed
from airflow_restore_replay.operators.base import ClusterOperator, fail_or_retry

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.jobs.context import Reporter
    from airflow_restore_replay.core.recovery.restore import Restored
    from airflow_restore_replay.core.repository.repository import Repository


class _RestoringOperator(ClusterOperator):
    """Base of the tasks that restore in the worker's process, which needs the server's programs on its host."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stopped = threading.Event()

    def on_kill(self) -> None:
        """Let the restore end its servers; what is restored so far stays for a retry."""
        self._stopped.set()

    def _cluster_on_this_host(self) -> Cluster:
        cluster = self.find_cluster()
        if cluster.node.runtime != "process":
            raise PreflightFailed(
                f"{self.task_id} restores on the worker's own host; nodes of {cluster.name} are of the runtime "
                f"{cluster.node.runtime}.",
                hint="Give the task a cluster with node.runtime: process, and the queue of a host with the server.",
            )
        return cluster

    def _report(self) -> Reporter:
        from airflow_restore_replay.core.jobs.context import Reporter
        from airflow_restore_replay.core.jobs.protocol import describe_progress

        return Reporter(lambda progress: self.log.info("%s", describe_progress(progress)), interval_s=15.0)


class RestoreToOperator(_RestoringOperator):
    """Task that restores a backup, or the data of a moment, into a directory of the worker's host.

    At most one of *at*, *before_gtid*, *to_gtid* and *latest* is given; without any, a backup is restored. A retry
    resumes. Returns ``backup_id, position, target, …``, for a moment also ``phases, transactions, next_gtid, …``.

    :param target: an empty or new directory; its server must be started and stopped by other tasks.
    :param backup_id: the backup; the newest healthy one unless given.
    :param at: a time such as ``2026-08-21 03:14:15+02:00``, or how long ago it was.
    :param before_gtid, to_gtid: up to before, or including, that transaction.
    :param latest: all that is archived.
    :param sql: an SQL script that is run on the restored data before the task ends, by a server that nobody else can
        reach, for example to mask personal data. If it fails, the directory is emptied.
    :param force: replace the content of *target*.
    """

    template_fields: Sequence[str] = (
        *ClusterOperator.template_fields,
        "target",
        "backup_id",
        "at",
        "before_gtid",
        "to_gtid",
        "sql",
    )
    ui_color = "#cfe3f5"

    def __init__(
        self,
        *,
        target: str,
        backup_id: Any = None,
        at: str | None = None,
        before_gtid: str | None = None,
        to_gtid: str | None = None,
        latest: bool = False,
        sql: str | None = None,
        force: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.backup_id = backup_id
        self.at = at
        self.before_gtid = before_gtid
        self.to_gtid = to_gtid
        self.latest = latest
        self.sql = sql
        self.force = force

    def execute(self, context: Context) -> dict[str, Any]:
        import msgspec

        with fail_or_retry():
            cluster, target = self._cluster_on_this_host(), self._target()
            repository = self.repository()
            started = time.monotonic()
            restored = self._restore(repository, cluster, target)
            seconds = time.monotonic() - started
            self.link(context, backup_id=restored.backup_id)
            if self.sql:
                self._run_script(repository, cluster, target, restored.backup_id)
            self._record(restored, seconds)
        result: dict[str, Any] = msgspec.to_builtins(restored)
        self.log.info("Restored: %s", result)
        return result

    def _record(self, restored: Restored, seconds: float) -> None:
        from airflow_restore_replay.core.recovery.measurements import record_restore

        record_restore(
            partial(self.repository, write=True),
            restored,
            {},
            seconds,
            by=type(self).__name__,
            warn=self.log.warning,
        )

    def _target(self) -> Path:
        if not self.target or not Path(self.target).is_absolute():
            raise PreflightFailed(f"target must be an absolute path, got {self.target!r}.")
        if self.sql and not Path(self.sql).is_file():
            raise PreflightFailed(f"The script {self.sql} does not exist.", hint="Give its absolute path.")
        return Path(self.target)

    def _restore(self, repository: Repository, cluster: Cluster, target: Path) -> Restored:
        from airflow_restore_replay.core.recovery.moment.wanted import wanted_of
        from airflow_restore_replay.core.recovery.restore import choose_backup, restore_backup
        from airflow_restore_replay.core.recovery.to_moment import MomentRestore

        wanted = wanted_of(at=self.at, before_gtid=self.before_gtid, to_gtid=self.to_gtid, latest=self.latest)
        report = self._report()
        if wanted is None:
            backup = choose_backup(repository.catalog(), self.backup_id)
            return restore_backup(
                repository,
                backup.manifest,
                target,
                transfer=cluster.transfer,
                force=self.force,
                progress=report.count,
                cancelled=self._stopped.is_set,
            )
        if self.backup_id:
            raise PreflightFailed("backup_id names a backup; a moment chooses its own.")
        return MomentRestore(
            repository,
            cluster,
            wanted,
            target,
            force=self.force,
            report=report,
            say=self.log.warning,
            cancelled=self._stopped.is_set,
        ).run()

    def _run_script(self, repository: Repository, cluster: Cluster, target: Path, backup_id: str) -> None:
        from airflow_restore_replay.core.recovery.private_server import private_server, run_script
        from airflow_restore_replay.core.system.files import empty_directory

        manifest = repository.load_manifest(backup_id)
        try:
            with private_server(cluster, manifest, target) as server:
                run_script(server, manifest.flavor, Path(str(self.sql)))
        except BaseException:
            # What was not masked must not be left for the next task.
            empty_directory(target)
            raise


class RestoreDrillOperator(_RestoringOperator):
    """Task that restores to a moment of the window without the primary, starts and checks the result, and measures it.

    What it took is recorded for ``restore-replay report``. Evidence against a backup quarantines it, and fails the
    task. Returns what was measured.

    :param moments: ``random`` or ``latest``; the cluster's ``drill.moments`` unless given.
    """

    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "moments")
    ui_color = "#d8efd3"

    def __init__(self, *, moments: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.moments = moments

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_restore_replay.core.recovery.drill import drill

        with fail_or_retry():
            cluster = self._cluster_on_this_host()
            try:
                measured = drill(
                    self.repository(write=True),
                    cluster,
                    moment=self.moments or cluster.drill.moments,
                    report=self._report(),
                    say=self.log.warning,
                    cancelled=self._stopped.is_set,
                )
            except BackupFault as exc:
                self.link(context, backup_id=exc.evidence.get("backup"))
                raise
        self.link(context, backup_id=measured["backup_id"])
        self.log.info("Drill: %s", measured)
        return measured
