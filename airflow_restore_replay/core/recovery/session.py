"""One restore for a person, from the plan to the running server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.filenames import TableName
from airflow_restore_replay.core.flavor.findings import Finding, Severity, refuse
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Conn, Endpoint
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.jobs.preconditions import finding_of
from airflow_restore_replay.core.recovery import in_place, preflight, roles, target_dir
from airflow_restore_replay.core.recovery.copy_server import Commands, CopyRequest, CopyServer
from airflow_restore_replay.core.recovery.dumping import refuse_file
from airflow_restore_replay.core.recovery.forecast import forecast
from airflow_restore_replay.core.recovery.loading.into import examine_server, renamed
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
    :param copy: how the server on it is to run; None if none goes on running.
    :param force: replace what is in the target.
    :param in_place: bring the data directory that the target is to the backup.
    :param dump: file for a dump of the tables.
    :param into: living server that gets the tables.
    :param rename: their names there, see :func:`~airflow_restore_replay.core.recovery.loading.into.renamed`.
    """

    target: Path
    only: Selection | None = None
    copy: CopyRequest | None = None
    force: bool = False
    in_place: bool = False
    dump: Path | None = None
    into: Endpoint | None = None
    rename: str | None = None

    @property
    def runs(self) -> CopyRequest | None:
        """Return how a server runs, if only for a while; None if none is needed."""
        return self.copy or (CopyRequest() if self.dump or self.into else None)


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
        self.wish = wish
        self.report = report
        self.cancelled = cancelled
        self.begin_with(backup)

    def begin_with(self, backup: Backup) -> None:
        """Let *backup* be the one that is restored."""
        self.backup = backup
        self.manifest = backup.manifest
        for of_another in ("files", "chosen"):
            self.__dict__.pop(of_another, None)

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
            copy=wish.runs,
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
            disk_bytes=needs.disk_bytes,
            free_bytes=preflight.free_bytes(wish.target),
            whole_bytes=manifest.sizes.restored_bytes,
            tables=tables,
            expected=forecast(self.catalog, size, starting=wish.runs is not None),
            not_covered=not_covered(manifest, tables),
            findings=[*preflight.examine(needs), *self._examine_results()],
        )

    def _examine_target(self) -> object:
        if self.wish.in_place:
            return in_place.examine(self.wish.target, in_place.goal_of(self.manifest), self.files)
        return target_dir.examine(
            self.wish.target, mark_of(self.manifest, self.wish.only), force=self.wish.force
        )

    @property
    def becomes(self) -> str:
        """Return what the data directory becomes, in words."""
        return f"backup {self.backup.backup_id}"

    @property
    def keeps_old(self) -> bool:
        """Return whether a restore in place has room to keep the old state until the new one is whole."""
        size = content_bytes(self.files, self.manifest.chunk_size_bytes)
        return in_place.keeps_old(self.wish.target, size)

    def _examine_results(self) -> list[Finding]:
        found = []
        if self.wish.in_place and self.wish.target.is_dir():
            kept = self.keeps_old
            found.append(
                Finding(
                    subject="target",
                    name="old state",
                    severity=Severity.OK if kept else Severity.WARNING,
                    observed="kept until the new one is whole" if kept else "no room to keep it",
                    expected="kept until the new one is whole",
                    fix="" if kept else "Free space, or it is lost when the restore begins.",
                )
            )
        if path := self.wish.dump:
            found.append(finding_of("target", "dump", partial(refuse_file, path), expected="a new file"))
        if self.wish.into:
            names = renamed(self.tables, self.wish.rename)
            found += examine_server(self.server_flavor, self.wish.into, self.manifest, names)
        return found

    @property
    def server_flavor(self) -> Flavor:
        """Return the flavor of the backup's server."""
        return get_flavor(self.manifest.flavor)

    @property
    def tables(self) -> list[TableName]:
        """Return the tables that are restored; none if it is all of them."""
        return [*self.chosen.tables, *self.chosen.unseen]

    def take_over(self) -> None:
        """End the server that an interrupted call of this same restore has left on the target."""
        mark = mark_of(self.manifest, self.wish.only)
        if self.wish.runs and target_dir.is_unfinished(self.wish.target, mark):
            CopyServer(self.cluster, self.manifest, self.wish.target, CopyRequest()).end()

    def restore(self) -> Restored:
        """Restore the files; resumes an interrupted restore of the same.

        If a server is asked for, the target counts as unfinished until :meth:`finish`.
        """
        self.report.phase("restoring", detail=self.backup.backup_id)
        if self.wish.in_place:
            return in_place.restore_in_place(
                self.repository,
                self.manifest,
                self.wish.target,
                self.files,
                transfer=self.cluster.transfer,
                progress=self.report.count,
                cancelled=self.cancelled,
            )
        return restore_backup(
            self.repository,
            self.manifest,
            self.wish.target,
            transfer=self.cluster.transfer,
            force=self.wish.force,
            only=self.wish.only,
            unfinished=self.wish.runs is not None,
            progress=self.report.count,
            cancelled=self.cancelled,
        )

    def finish(self) -> None:
        """Let the target count as complete: a later call of the same does not resume it."""
        with contextlib.closing(target_dir.held(self.wish.target)) as place:
            place.remove(target_dir.MARKER)

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
                kept = set(self.tables)
                copy.flavor.forget_absent(conn, lambda schema, name: TableName(schema, name) in kept)
        except BaseException:
            copy.end()
            raise
        return copy, conn


def refuse_plan(plan: Plan) -> None:
    """Raise if the target or its host does not suit.

    :raises RestoreReplayError: the error that the first finding of that kind names.
    """
    refuse(plan.findings, seeding=False, what="a restore")
