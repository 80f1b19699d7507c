"""Restores to a directory or a Docker volume, for people and staging servers, and drills of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_restore_replay.core.errors import BackupFault, PreflightFailed
from airflow_restore_replay.core.jobs.protocol import JobName
from airflow_restore_replay.hooks.replay_node import ReplayNodeHook
from airflow_restore_replay.operators.base import ClusterOperator, fail_or_retry
from airflow_restore_replay.operators.restoring import RestoringOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_restore_replay.core.recovery.errand import Done
    from airflow_restore_replay.core.recovery.moment.wanted import Wanted
    from airflow_restore_replay.core.repository.catalog import Backup
    from airflow_restore_replay.core.runtime.recovery import Place


class RestoreToOperator(RestoringOperator):
    """Task that restores a backup, or the data of a moment, into a directory or a Docker volume.

    At most one of *at*, *before_gtid*, *to_gtid* and *latest* is given; without any, a backup is restored. A retry
    resumes. Returns ``backup_id, position, target, …``, for a moment also ``phases, transactions, next_gtid, …``.

    :param target: an empty or new directory, of the worker's host or of the host of nodes (*on_node*), or
        ``volume:NAME`` of Docker; its server must be started and stopped by other tasks.
    :param backup_id: the backup; the newest healthy one unless given.
    :param at: a time such as ``2026-08-21 03:14:15+02:00``, or how long ago it was.
    :param before_gtid, to_gtid: up to before, or including, that transaction.
    :param latest: all that is archived.
    :param sql: an SQL script that is run on the restored data before the task ends, by a server that nobody else can
        reach, for example to mask personal data. If it fails, the directory is emptied.
    :param force: replace the content of *target*.
    """

    job = JobName.RECOVER
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
        with fail_or_retry():
            if self.runs_on_node():
                return super().execute(context)
            done = self._restore(context)
            return self._answer(done)

    def _restore(self, context: Context) -> Done:
        from airflow_restore_replay.core.recovery.errand import Errand
        from airflow_restore_replay.core.recovery.private_server import run_privately
        from airflow_restore_replay.core.recovery.session import Wish

        cluster, target = self.find_cluster(), self._target()
        errand = Errand(
            self.repository(),
            cluster,
            Wish(target, force=self.force),
            self._report(),
            self._wanted(),
            self.backup_id or "",
            say=self.log.warning,
            cancelled=self._stopped.is_set,
        )
        done = errand.run()
        self.link(context, backup_id=done.restored.backup_id)
        if self.sql:
            run_privately(self._script(), cluster, errand.session.manifest, target)
        return done

    def _answer(self, done: Done) -> dict[str, Any]:
        """Record what the restore took, wherever it ran, and return what the task does."""
        import msgspec

        from airflow_restore_replay.core.recovery.measurements import record_restore

        record_restore(
            partial(self.repository, write=True),
            done.measured,
            by=type(self).__name__,
            warn=self.log.warning,
        )
        result: dict[str, Any] = msgspec.to_builtins(done.moment or done.restored)
        self.log.info("Restored: %s", result)
        return {**result, "target": self.target}

    def runs_on_node(self) -> bool:
        from airflow_restore_replay.core.runtime.recovery import is_volume

        return super().runs_on_node() or is_volume(self.target)

    def node_backup(self) -> Backup:
        from airflow_restore_replay.core.recovery.restore import choose_backup

        # Refused before there is a node.
        self._wanted()
        if self.sql:
            self._script()
        return choose_backup(self.repository().catalog(), self.backup_id)

    def node_volume(self) -> str:
        return self._place().volume

    def job_params(self) -> dict[str, Any]:
        from airflow_restore_replay.core.decoding import plain
        from airflow_restore_replay.core.recovery.order import Order

        wanted = self._wanted()
        order = Order(
            target=self._place().directory,
            wanted=wanted,
            backup_id="" if wanted else self.node_backup().backup_id,
            force=self.force,
            sql=self._script().read_text(encoding="utf-8") if self.sql else "",
        )
        params: dict[str, Any] = plain(order)
        return params

    def _finish(self, context: Context, hook: ReplayNodeHook, key: str) -> dict[str, Any]:
        from airflow_restore_replay.core.decoding import convert
        from airflow_restore_replay.core.recovery.errand import Done

        return self._answer(convert(super()._finish(context, hook, key)["done"], Done))

    def _place(self) -> Place:
        from airflow_restore_replay.core.runtime.recovery import Place

        if not self.target:
            raise PreflightFailed("target is missing.")
        return Place.of(self.find_cluster(), self.target)

    def _wanted(self) -> Wanted | None:
        from airflow_restore_replay.core.recovery.moment.wanted import wanted_of

        wanted = wanted_of(at=self.at, before_gtid=self.before_gtid, to_gtid=self.to_gtid, latest=self.latest)
        if wanted and self.backup_id:
            raise PreflightFailed("backup_id names a backup; a moment chooses its own.")
        return wanted

    def _script(self) -> Path:
        if not Path(str(self.sql)).is_file():
            raise PreflightFailed(f"The script {self.sql} does not exist.", hint="Give its absolute path.")
        return Path(str(self.sql))

    def _target(self) -> Path:
        if not self.target or not Path(self.target).is_absolute():
            raise PreflightFailed(f"target must be an absolute path, got {self.target!r}.")
        if self.sql:
            self._script()
        return Path(self.target)


class RestoreDrillOperator(RestoringOperator):
    """Task that restores to a moment of the window without the primary, starts and checks the result, and measures it.

    What it took is recorded for ``restore-replay report``. Evidence against a backup quarantines it, and fails the
    task. Returns what was measured.

    :param moments: ``random`` or ``latest``; the cluster's ``drill.moments`` unless given.
    """

    job = JobName.DRILL
    template_fields: Sequence[str] = (*ClusterOperator.template_fields, "moments")
    ui_color = "#d8efd3"

    def __init__(self, *, moments: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.moments = moments

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_restore_replay.core.recovery.drill import drill

        with fail_or_retry():
            if self.runs_on_node():
                return super().execute(context)
            with self._linking(context):
                measured = drill(
                    self.repository(write=True),
                    self.find_cluster(),
                    moment=self._moments(),
                    report=self._report(),
                    say=self.log.warning,
                    cancelled=self._stopped.is_set,
                )
        self.link(context, backup_id=measured["backup_id"])
        self.log.info("Drill: %s", measured)
        return measured

    def job_params(self) -> dict[str, Any]:
        return {"moments": self._moments()}

    def _moments(self) -> str:
        return self.moments or self.find_cluster().drill.moments

    def _finish(self, context: Context, hook: ReplayNodeHook, key: str) -> dict[str, Any]:
        with self._linking(context):
            return super()._finish(context, hook, key)

    @contextmanager
    def _linking(self, context: Context) -> Iterator[None]:
        """Link the task to a backup that turns out to be damaged."""
        try:
            yield
        except BackupFault as exc:
            self.link(context, backup_id=exc.evidence.get("backup"))
            raise
