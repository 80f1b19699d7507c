"""One restore for a person, from the plan to the running server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.filenames import TableName
from airflow_restore_replay.core.flavor.findings import Finding, refuse
from airflow_restore_replay.core.flavor.quoting import joined
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Conn, Endpoint
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.jobs.preconditions import finding_of
from airflow_restore_replay.core.recovery import preflight, roles, target_dir
from airflow_restore_replay.core.recovery.copy_server import Commands, CopyRequest, CopyServer, RunningCopy
from airflow_restore_replay.core.recovery.dumping import Dumped, dump, refuse_file
from airflow_restore_replay.core.recovery.forecast import forecast
from airflow_restore_replay.core.recovery.loading.into import Loaded, examine_server, load_table, renamed
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
    :param dump: file for a dump of the tables.
    :param into: living server that gets the tables.
    :param rename: their names there, see :func:`~airflow_restore_replay.core.recovery.loading.into.renamed`.
    """

    target: Path
    only: Selection | None = None
    copy: CopyRequest | None = None
    force: bool = False
    dump: Path | None = None
    into: Endpoint | None = None
    rename: str | None = None

    @property
    def runs(self) -> CopyRequest | None:
        """Return how a server runs, if only for a while; None if none is needed."""
        return self.copy or (CopyRequest() if self.dump or self.into else None)


@dataclass
class Served:
    """What came of a server on the restored copy.

    :param running: the server, if it goes on running.
    """

    running: RunningCopy | None = None
    role: roles.Role = field(default_factory=roles.Role)
    dumped: Dumped | None = None
    loaded: list[Loaded] = field(default_factory=list)


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
            whole_bytes=manifest.sizes.restored_bytes,
            tables=tables,
            expected=forecast(self.catalog, size, starting=wish.runs is not None),
            not_covered=not_covered(manifest, tables),
            findings=[*preflight.examine(needs), *self._examine_results()],
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

    def _examine_results(self) -> list[Finding]:
        found = []
        if path := self.wish.dump:
            found.append(finding_of("target", "dump", partial(refuse_file, path), expected="a new file"))
        if self.wish.into:
            names = renamed(self._tables, self.wish.rename)
            found += examine_server(self.server_flavor, self.wish.into, self.manifest, names)
        return found

    @property
    def server_flavor(self) -> Flavor:
        """Return the flavor of the backup's server."""
        return get_flavor(self.manifest.flavor)

    @property
    def _tables(self) -> list[TableName]:
        return [*self.chosen.tables, *self.chosen.unseen]

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
                kept = set(self._tables)
                copy.flavor.forget_absent(conn, lambda schema, name: TableName(schema, name) in kept)
        except BaseException:
            copy.end()
            raise
        return copy, conn

    def serve(self, restored: Restored) -> Served:
        """Start the copy, take from it what is asked for, and let it run on in its role, or stop it."""
        served = Served()
        copy, conn = self.start(restored)
        try:
            if self.wish.dump:
                served.dumped = self._dump(copy, conn, self.wish.dump)
            if self.wish.into:
                served.loaded = list(self._load(copy, conn, self.wish.into))
        except BaseException:
            copy.end()
            raise
        if self.wish.copy is None:
            self.report.phase("stopping the server")
            copy.close(conn)
        else:
            self._leave(copy, conn, self.wish.copy, restored, served)
        return served

    def _dump(self, copy: CopyServer, conn: Conn, path: Path) -> Dumped:
        self.report.phase("dumping", detail=path.name)
        return dump(
            copy.server,
            conn,
            self.manifest,
            self._tables,
            path,
            secrets_dir=copy.home / "secrets",
            progress=self.report.count,
            cancelled=self.cancelled,
        )

    def _load(self, copy: CopyServer, conn: Conn, server: Endpoint) -> Iterator[Loaded]:
        for table, name in renamed(self._tables, self.wish.rename).items():
            self.report.phase("loading", detail=joined(name.schema, name.name))
            yield load_table(
                copy.flavor,
                conn,
                copy.server.endpoint(),
                server,
                table,
                name,
                progress=partial(self.report.count, unit="rows"),
                cancelled=self.cancelled,
            )

    def _leave(
        self, copy: CopyServer, conn: Conn, request: CopyRequest, restored: Restored, served: Served
    ) -> None:
        try:
            if request.primary:
                served.role = roles.become_primary(copy.flavor, conn, self.manifest, restored.position)
            elif request.source:
                self.report.phase("connecting to the source")
                served.role = roles.become_replica(
                    copy.flavor, conn, request.source, cancelled=self.cancelled
                )
        except RestoreReplayError:
            # It runs, and a person may want to see why it is not what it should be.
            with contextlib.suppress(RestoreReplayError):
                copy.leave(conn, keep_account=True)
            raise
        in_service = request.primary or request.source is not None
        served.running = copy.leave(conn, keep_account=not in_service)
        if self.wish.only:
            # The log names each table that the copy does not have.
            served.running = replace(served.running, warnings=[])
