"""The node of a restore to a moment: it is filled from a backup as a cycle's is, and replays from the archive."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import ArchivedLog
from airflow_restore_replay.core.archive.reach import Leg
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.sections import Primary
from airflow_restore_replay.core.decisions.attempts import REPLAY
from airflow_restore_replay.core.errors import Blame, PositionMismatch
from airflow_restore_replay.core.flavor.archive_server import ArchiveServer
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Position
from airflow_restore_replay.core.jobs.checks.position import PositionCheck
from airflow_restore_replay.core.jobs.checks.run import run_checks, standalone_checks
from airflow_restore_replay.core.jobs.context import JobContext, Reporter
from airflow_restore_replay.core.jobs.fill import restore
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import JobName, JobRequest, NodeRequest, Phase, RunRef
from airflow_restore_replay.core.jobs.replay import replay_until
from airflow_restore_replay.core.recovery.moment.guard import LOGS, NODES, SERVING
from airflow_restore_replay.core.recovery.moment.plan import Base
from airflow_restore_replay.core.recovery.serving.fetching import Fetching
from airflow_restore_replay.core.recovery.serving.service import archive_server, remove_server
from airflow_restore_replay.core.recovery.target_dir import remove_strangers
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.older_state import OlderState
from airflow_restore_replay.core.system.beneath import Beneath
from airflow_restore_replay.core.system.files import empty_directory

#: the lease's owner in a node's record; a restore holds no lease
_RUN = "restore"
_WAIT_S = 0.5
#: bytes of archived logs that are fetched and not yet served
MOST_AHEAD_BYTES = 4 * 2**30


@dataclass
class Measured:
    """What a restore took.

    :param phases: seconds by phase.
    :param bytes, files: of the backup.
    :param fetched_bytes: read from the store for it; less after a resumed try.
    :param log_bytes: of the archived logs that were fetched.
    :param transactions: in these logs; the backup had some of them.
    """

    phases: dict[str, float] = field(default_factory=dict)
    bytes: int = 0
    files: int = 0
    fetched_bytes: int = 0
    log_bytes: int = 0
    transactions: int = 0

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the context to a phase."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(self.phases.get(name, 0.0) + time.monotonic() - started, 3)


class _Whole(Reporter):
    """Reporter of one replication among several, as a part of all that is replayed.

    :param before: transactions in the files that were replayed before.
    :param here: transactions in the files that are replayed now.
    :param counted: the server's own count of them so far; MariaDB never resets it, and MySQL does.
    """

    def __init__(self, report: Reporter, *, before: int, here: int, counted: int, total: int) -> None:
        self._report = report
        self._before = before
        self._here = here
        self._counted = counted
        self._total = total

    def phase(self, phase: str, detail: str = "") -> None:
        self._report.phase(phase, detail)

    def count(self, done: int, total: int = 0, *, unit: str = "bytes", detail: str = "") -> None:
        applied = done - self._counted if done >= self._counted else done
        done = self._before + min(applied, self._here)
        self._report.count(done, total or self._total, unit=unit, detail=detail)


class ReplayedNode:
    """A node that replays from the archive.

    :param scratch: the restore's directory.
    :param goal: where it stops.
    :param checked: run the checks that need no primary at the goal.
    :param older: an older state of the data, of which what is right is not fetched.
    """

    def __init__(
        self,
        repository: Repository,
        cluster: Cluster,
        archive: Archive,
        scratch: Path,
        goal: Position,
        *,
        report: Reporter,
        cancelled: Callable[[], bool],
        checked: bool = False,
        older: OlderState | None = None,
    ) -> None:
        self._checked = checked
        self._older = older
        self.measured = Measured()
        self.directory = NodeDir(scratch / NODES / f"{cluster.name}-restore")
        self._repository = repository
        self._cluster = cluster
        self._archive = archive
        self._scratch = scratch
        self._goal = goal
        self._report = report
        self._cancelled = cancelled

    @property
    def stopped(self) -> bool:
        """Return whether it has replayed everything and was stopped cleanly."""
        return self.directory.path.exists() and self.directory.load().phase is Phase.STOPPED

    def replay(self, base: Base, *, single_applier: bool) -> None:
        """Restore *base*, replay to the goal, forget replication, and stop the server with full durability.

        A server that an earlier try left was not stopped cleanly, so its data is compared with the backup again.

        :raises BackupFault, Stranded, NodeServerCrashed: it is not possible from this backup.
        :raises LogMissing, LogCorrupt: a file of the archive is damaged.
        """
        self.measured = Measured()
        logs = self._scratch / LOGS
        logs.mkdir(mode=0o700, exist_ok=True)
        empty_directory(logs)
        server = archive_server(get_flavor(self._cluster.flavor), self._cluster, self._scratch / SERVING)
        ctx = self._context(base, server)
        try:
            with (
                contextlib.closing(self._fetching(base)) as fetching,
                ThreadPoolExecutor(1) as beside,
            ):
                initialized = beside.submit(server.initialize)
                self._fill(ctx, base, single_applier=single_applier)
                initialized.result()
                with self.measured.phase("replay"):
                    self._replay(ctx, server, fetching, base)
                self.measured.log_bytes = fetching.fetched_bytes
            if self._checked:
                with self.measured.phase("check"):
                    # The backup's position is not the goal.
                    run_checks(ctx, [c for c in standalone_checks(ctx) if c.name != PositionCheck.name])
            self._stop(ctx)
        finally:
            remove_server(self._scratch / SERVING)
            if not self.stopped:
                ctx.server.kill()
            empty_directory(logs)

    def _fetching(self, base: Base) -> Fetching:
        logs = self._scratch / LOGS
        return Fetching(self._archive, base.legs, logs, most_ahead_bytes=MOST_AHEAD_BYTES)

    def _context(self, base: Base, server: ArchiveServer) -> JobContext:
        service = server.service
        source = Primary(host="127.0.0.1", port=service.port, user=service.user, ssl_ca=str(service.ca))
        cluster = msgspec.structs.replace(self._cluster, primary=source)
        run = RunRef(run=_RUN, attempt=REPLAY, lease_epoch=0)
        node_id = self.directory.path.name
        node = NodeDir.create(
            self.directory.path.parent, NodeRequest(node_id=node_id, run=run, cluster=cluster)
        )
        request = JobRequest(
            key=_RUN,
            job=JobName.RESTORE,
            run=run,
            cluster=cluster,
            params={"backup_id": base.backup.backup_id, "standalone": True},
        )
        ctx = JobContext(node, request, self._report, self._cancelled, self._older)
        ctx.repository = self._repository
        return ctx

    def _fill(self, ctx: JobContext, base: Base, *, single_applier: bool) -> None:
        manifest = base.backup.manifest
        if ctx.state.phase is not Phase.EMPTY:
            ctx.server.kill()
            self._keep_for(ctx, base)
        with ctx.node.changing() as state:
            state.single_applier = single_applier
        with self.measured.phase("restore"):
            summary = restore(ctx)
        self.measured.phases["start"] = summary["start_seconds"]
        self.measured.bytes, self.measured.fetched_bytes = summary["bytes"], summary["fetched_bytes"]
        self.measured.files = manifest.sizes.files

    def _keep_for(self, ctx: JobContext, base: Base) -> None:
        """Keep what an earlier try restored of the same backup; each chunk of it is compared before it is used."""
        if ctx.state.fill != {"job": JobName.RESTORE.value, "params": dict(ctx.params)}:
            ctx.node.wipe()
            return
        for name in ("run", "tmp", "agent"):
            empty_directory(ctx.node.path / name)
        # By the modes that the backup has, a group may write, and such files are not reused. This directory is private.
        for path in ctx.node.data.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)
        with contextlib.closing(Beneath(ctx.node.data)) as data:
            remove_strangers(data, self._repository.load_files(base.backup.manifest))
        ctx.node.set_phase(Phase.FILLING)

    def _replay(self, ctx: JobContext, server: ArchiveServer, fetching: Fetching, base: Base) -> None:
        """Let the node replicate from servers of the legs, one after the other.

        A server takes the files that are there when it starts, so while the node replays them, the next are fetched.
        """
        replayed, counted, report = 0, 0, ctx.report
        for number, leg in enumerate(base.legs):
            if number:
                server.forget()
            while fetching.more(number):
                report.phase("waiting for archived logs")
                files = self._arrived(ctx, fetching, number)
                report.phase("replaying", detail=f"{files[0][0].name} to {files[-1][0].name}")
                server.serve([path for _, path in files])
                ctx.primary = server.endpoint()
                here = sum(log.transactions for log, _ in files)
                ctx.report = _Whole(
                    report, before=replayed, here=here, counted=counted, total=base.transactions
                )
                counted = replay_until(ctx, self._until(ctx, leg, files[-1][0])).transactions
                replayed += here
        ctx.report = report
        self.measured.transactions = replayed

    def _until(self, ctx: JobContext, leg: Leg, last: ArchivedLog) -> Position:
        return leg.after.common(ctx.flavor.parse_position(last.after))

    def _arrived(self, ctx: JobContext, fetching: Fetching, leg: int) -> list[tuple[ArchivedLog, Path]]:
        while not (files := fetching.take(leg, timeout_s=_WAIT_S)):
            ctx.stop_if_cancelled()
            ctx.report.count(fetching.fetched_bytes)
        return files

    def _stop(self, ctx: JobContext) -> None:
        ctx.report.phase("stopping the server")
        with self.measured.phase("stop"):
            with ctx.crash_guard("stopping"), ctx.server.connect() as node:
                ctx.flavor.stop_replication(node)
                ctx.flavor.forget_replication(node)
                executed = ctx.flavor.executed_position(node)
                events = ctx.flavor.event_states(node)
            if not (self._goal.contains(executed) and executed.contains(self._goal)):
                raise PositionMismatch(
                    f"The restored server stands at {executed}, and not at the goal, {self._goal}.",
                    hint="Temporary tables in a statement-based binary log prevent an exact stop.",
                    blame=Blame.ENVIRONMENT,
                )
            with ctx.node.changing() as state:
                state.position, state.facts.event_states = str(executed), events
            ctx.server.stop()
        ctx.node.set_phase(Phase.STOPPED)
