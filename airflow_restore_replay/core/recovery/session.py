"""One restore for a person, from the plan to the running server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.filenames import TableName
from airflow_restore_replay.core.flavor.findings import refuse
from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.recovery import preflight, roles, target_dir
from airflow_restore_replay.core.recovery.copy_server import Commands, CopyRequest, CopyServer, RunningCopy
from airflow_restore_replay.core.recovery.forecast import forecast
from airflow_restore_replay.core.recovery.plan import Plan, named, not_covered
from airflow_restore_replay.core.recovery.restore import Restored, content_bytes, mark_of, restore_backup
from airflow_restore_replay.core.recovery.selection import Chosen, Selection
from airflow_restore_replay.core.repository.catalog import Backup, Catalog
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.repository import Repository


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Wish:
    """What is asked of a restore.

    :param target: the data directory to be, as an absolute path.
    :param only: the tables; None for all.
    :param copy: how the server on it is to run; None if none is started.
    :param force: replace what is in the target.
    """

    target: Path
    only: Selection | None = None
    copy: CopyRequest | None = None
    force: bool = False


class RestoreSession:
    """A restore of one backup.

    :param report: receives the progress, phase by phase.
    """

    def __init__(
        self,
        cluster: Cluster,
        repository: Repository,
        catalog: Catalog,
        backup: Backup,
        wish: Wish,
        report: Reporter,
        cancelled: Callable[[], bool] = _never,
    ) -> None:
        self.cluster = cluster
        self.repository = repository
        self.catalog = catalog
        self.backup = backup
        self.manifest = backup.manifest
        self.wish = wish
        self.report = report
        self.cancelled = cancelled

    @cached_property
    def files(self) -> list[FileEntry]:
        """Return the files of the whole backup."""
        return self.repository.load_files(self.manifest)

    @cached_property
    def chosen(self) -> Chosen:
        """Return what of the backup is restored.

        :raises NoSuchTable: the backup lacks a table.
        """
        return (
            self.wish.only.chosen(self.files, self.manifest) if self.wish.only else Chosen(self.files, [], [])
        )

    def plan(self) -> Plan:
        """Return what the restore would do; nothing is written.

        :raises NoSuchTable: the backup lacks a table.
        """
        wish, manifest, files = self.wish, self.manifest, self.chosen.files
        size = content_bytes(files, manifest.chunk_size_bytes)
        needs = preflight.Needs(
            cluster=self.cluster,
            manifest=manifest,
            target=wish.target,
            size_bytes=size,
            examine_target=self._examine_target,
            copy=wish.copy,
        )
        tables = named(self.chosen)
        return Plan(
            backup_id=manifest.backup_id,
            state=self.backup.state,
            position=manifest.position,
            server_release=manifest.server_release,
            target=str(wish.target),
            files=sum(not f.directory for f in files),
            size_bytes=size,
            whole_bytes=manifest.sizes.restored_bytes,
            tables=tables,
            expected=forecast(self.catalog, size, starting=wish.copy is not None),
            not_covered=not_covered(manifest, tables),
            findings=preflight.examine(needs),
        )

    def refuse(self, plan: Plan) -> None:
        """Raise if the target or this host does not suit.

        :raises RestoreReplayError: the error that the first such finding names.
        """
        refuse(plan.findings, seeding=False, what="a restore")

    def _examine_target(self) -> object:
        return target_dir.examine(
            self.wish.target, mark_of(self.manifest, self.wish.only), force=self.wish.force
        )

    def restore(self) -> Restored:
        """Restore the files; resumes an interrupted restore of the same."""
        self.report.phase("restoring", detail=self.backup.backup_id)
        return restore_backup(
            self.repository,
            self.manifest,
            self.wish.target,
            transfer=self.cluster.transfer,
            force=self.wish.force,
            only=self.wish.only,
            progress=self.report.count,
            cancelled=self.cancelled,
        )

    def server(self, restored: Restored) -> CopyServer:
        """Return the server of the restored copy, which is not started by this."""
        return CopyServer(
            self.cluster,
            self.manifest,
            self.wish.target,
            self.wish.copy or CopyRequest(),
            option_file=restored.option_file,
        )

    def commands(self, restored: Restored) -> Commands:
        """Return the commands for a person who starts the copy."""
        return self.server(restored).commands()

    def start(self, restored: Restored) -> tuple[CopyServer, Conn]:
        """Start a server on the copy, and return it with a connection; :meth:`CopyServer.leave` lets it run on.

        :raises PositionMismatch: it has executed something else than its backup records.
        :raises BackupFault, NodeServerCrashed: it does not start.
        """
        self.report.phase("starting the server")
        copy = self.server(restored)
        try:
            conn = copy.start()
            roles.refuse_other_position(copy.flavor, conn, restored.position)
            if self.wish.only:
                kept = {*self.chosen.tables, *self.chosen.unseen}
                copy.flavor.forget_absent(conn, lambda schema, name: TableName(schema, name) in kept)
        except BaseException:
            copy.end()
            raise
        return copy, conn

    def serve(self, restored: Restored) -> tuple[RunningCopy, roles.Role]:
        """Start the copy in its role, and let it run on."""
        request = self.wish.copy or CopyRequest()
        copy, conn = self.start(restored)
        role = roles.Role()
        try:
            if request.primary:
                role = roles.become_primary(copy.flavor, conn, self.manifest, restored.position)
            elif request.source:
                self.report.phase("connecting to the source")
                role = roles.become_replica(copy.flavor, conn, request.source, cancelled=self.cancelled)
        except RestoreReplayError:
            # It runs, and a person may want to see why it is not what it should be.
            with contextlib.suppress(RestoreReplayError):
                copy.leave(conn, keep_account=True)
            raise
        in_service = request.primary or request.source is not None
        running = copy.leave(conn, keep_account=not in_service)
        if self.wish.only:
            # The log names each table that the copy does not have.
            running = replace(running, warnings=[])
        return running, role
