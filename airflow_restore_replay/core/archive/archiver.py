"""The archiver: receive the primary's binary logs, cut them, store the pieces, and prove that nothing is missing.

See docs/decisions/0029-archive-of-binary-logs.md.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from pymysql.err import MySQLError

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.continuing import (
    Primary,
    Start,
    changed_start,
    first_start,
    next_start,
)
from airflow_restore_replay.core.archive.orders import Changed, End, Goal, Orders, Unproven
from airflow_restore_replay.core.archive.outcome import ArchiveReport
from airflow_restore_replay.core.archive.receiver import Receiver, server_id_of
from airflow_restore_replay.core.archive.session import Session
from airflow_restore_replay.core.archive.spool import Spool
from airflow_restore_replay.core.archive.storing import LogWriter
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import (
    BinlogPurged,
    LeaseHeld,
    LeaseLost,
    Refused,
    RestoreReplayError,
    SourceCorrupt,
    StoreFailed,
    StoreFull,
)
from airflow_restore_replay.core.flavor.binlogstream import files
from airflow_restore_replay.core.flavor.classify import number_and_text
from airflow_restore_replay.core.flavor.endpoints import primary_endpoint
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.repository.format.records import LogGap, LogPiece, utc_now
from airflow_restore_replay.core.repository.repository import Repository

_READ_TIMEOUT_S = 60
_TRIES = 3
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
_LEASE_POLL_S = 2.0

Say = Callable[[str], None]


class Archiver:
    """Archives the binary logs of one cluster.

    :param password: of the primary's account.
    :param spool: where the spool is, instead of where the cluster file has it.
    :param say: called with lines for people.
    :param progress: called whenever the report has changed.
    """

    def __init__(
        self,
        cluster: Cluster,
        repository: Repository,
        password: str,
        *,
        spool: Path | None = None,
        say: Say = lambda line: None,
        progress: Callable[[ArchiveReport], None] = lambda report: None,
    ) -> None:
        self._cluster = cluster
        self._repository = repository
        self._flavor = get_flavor(cluster.flavor)
        self._primary = primary_endpoint(cluster.primary, password)
        self._source = self._primary
        if cluster.archive.host or cluster.archive.port:
            self._source = msgspec.structs.replace(
                self._primary,
                host=cluster.archive.host or self._primary.host,
                port=cluster.archive.port or self._primary.port,
            )
        self._spool = Spool(cluster, spool)
        self._receiver = Receiver(
            self._flavor,
            self._source,
            self._spool.directory,
            bindir=Path(cluster.node.bindir) if cluster.node.bindir else None,
            server_id=cluster.archive.server_id or server_id_of(repository.repository_id),
            limit_bytes=int(cluster.archive.spool_limit),
        )
        self._say = say
        self._progress = progress
        self._stopping: Callable[[], bool] = lambda: False
        self._follow = False
        self._leave = ""
        self._changed = ""
        self._whole = False
        self.report = ArchiveReport(cluster.name)

    def run(self, *, follow: bool, stopping: Callable[[], bool] = lambda: False) -> ArchiveReport:
        """Archive up to the primary's present position, or on and on.

        :param follow: go on until *stopping* returns True, whatever fails.
        :raises LeaseHeld: another archiver is at work.
        :raises LeaseLost: another archiver has taken over.
        """
        self._follow, self._stopping = follow, stopping
        started = time.monotonic()
        try:
            with contextlib.ExitStack() as stack:
                owner = self._waiting(lambda: stack.enter_context(self._spool.held()))
                if owner:
                    self.report.run = owner
                    self._run(self._writer(owner))
        finally:
            self.report.seconds = round(time.monotonic() - started, 3)
        return self.report

    def _run(self, writer: LogWriter) -> None:
        if not self._waiting(lambda: self._storing(writer.acquire)):
            return
        try:
            self._run_sessions(writer)
        finally:
            self._receiver.discard()
            with contextlib.suppress(StoreFailed, LeaseLost):
                writer.release()

    def _writer(self, owner: str) -> LogWriter:
        archive = Archive.read(self._repository)
        for path, why in archive.unreadable.items():
            self._say(f"{path} is ignored: {why}")
        log = archive.streams[-1].logs[-1] if archive.streams else None
        if log:
            self.report.log, self.report.position = log.name, log.after
        self.report.current_at = max((p.current_at for p in archive.pieces if p.current_at), default=None)
        return LogWriter(archive.store, owner, self._flavor.name, log)

    def _waiting(self, acquire: Callable[[], Any]) -> Any:
        """Call *acquire* until no other archiver is in the way; return None if this one was stopped before that."""
        waiting = ""
        while True:
            try:
                return acquire()
            except LeaseHeld as exc:
                if not self._follow:
                    raise
                if not waiting:
                    waiting = exc.message
                    self._say(f"Waiting: {waiting}")
            if self._pause(_LEASE_POLL_S):
                return None

    def _run_sessions(self, writer: LogWriter) -> None:
        failures = 0
        while True:
            before = self.report.pieces
            try:
                end = self._session(writer)
                if end in (End.REACHED, End.STOPPED):
                    return
                if end is End.SPOOL_FULL:
                    self._say("The spool was full, and is stored. Receiving goes on.")
            except (LeaseLost, LeaseHeld):
                raise
            except RestoreReplayError as exc:
                failures = 1 if self.report.pieces > before else failures + 1
                if self._stopping():
                    return
                damaged = isinstance(exc, SourceCorrupt) and writer.log is not None
                # The second time that it cannot be sent to its end: the next file says what is missing.
                self._leave = writer.log.name if damaged and failures > 1 and writer.log else ""
                # Purged since its files were listed: another one follows.
                again = exc.retryable or damaged or isinstance(exc, BinlogPurged)
                # A program that is not installed, for example, does not come by itself.
                refused = isinstance(exc, Refused) and not self.report.pieces
                if refused or (not self._follow and (failures >= _TRIES or not again)):
                    raise
                self._say(exc.message)
                if self._pause(min(_FIRST_PAUSE_S * 2**failures, _LONGEST_PAUSE_S)):
                    return

    def _session(self, writer: LogWriter) -> End:
        try:
            return self._one_session(writer)
        except MySQLError as exc:
            raise self._flavor.log.classify(*number_and_text(exc)) from exc

    def _one_session(self, writer: LogWriter) -> End:
        with contextlib.closing(self._connect()) as conn:
            primary = Primary.ask(conn, self._flavor)
            start = self._start(writer, primary)
            place = start.place
            self._receiver.start(start.file.name, place.on_primary, beyond_limit_bytes=place.again_bytes)
            orders = Orders(
                interval_s=self._cluster.archive.interval,
                follow=self._follow,
                ask=lambda: self._goal(conn),
                heading=self._heading,
                storing=self._storing,
                stopping=self._stopping,
                told=self._told,
            )
            try:
                return Session(self._flavor, self._receiver, writer, start, primary.identity, orders).run()
            except Unproven as exc:
                self._whole = True
                self._say(f"All of {start.file.name} is received again: {exc}.")
                return End.CHANGED
            except Changed as exc:
                self._changed = f"{start.file.name} of the primary is not the file that is archived: {exc}"
                self._say(f"{self._changed}.")
                return End.CHANGED
            finally:
                self._receiver.stop()

    def _start(self, writer: LogWriter, primary: Primary) -> Start:
        log, changed, whole = writer.log, self._changed, self._whole
        self._changed, self._whole = "", False
        if log is None:
            healthy = self._repository.catalog().healthy()
            oldest = healthy[0].manifest.position if healthy else None
            return first_start(primary, self._flavor, oldest)
        if changed:
            return changed_start(log, primary, self._flavor, changed)
        return next_start(log, primary, self._flavor, leave=self._leave, whole=whole)

    def _heading(self, file: str) -> str | None:
        log = self._flavor.log
        with contextlib.closing(self._connect()) as conn:
            if file not in files(conn):
                return None
        with contextlib.closing(log.events(self._source, file)) as events:
            return next((str(found) for event in events if (found := log.listed(event)) is not None), None)

    def _connect(self) -> Conn:
        return self._flavor.connect(self._source, read_timeout_s=_READ_TIMEOUT_S)

    def _goal(self, conn: Conn) -> Goal:
        at = utc_now()
        if self._source == self._primary:
            file, offset = self._flavor.log_program.end(conn)
            return Goal(at, file, offset)
        # A replica may lag, so only the primary's own position tells what is missing.
        with contextlib.closing(self._flavor.connect(self._primary)) as primary:
            position = self._flavor.primary_position(primary)
        file, offset = self._flavor.log_program.end(conn)
        parse = self._flavor.parse_position
        return Goal(at, file, offset, lambda archived: parse(archived).contains(position))

    def _storing(self, action: Callable[[], Any]) -> Any:
        """Call *action* until the store takes it; what arrives meanwhile waits in the spool."""
        failures, said = 0, ""
        while True:
            try:
                done = action()
            except (StoreFailed, StoreFull) as exc:
                failures += 1
                if self._stopping() or (not self._follow and failures >= _TRIES):
                    raise
                state = (
                    "The spool is full, so receiving pauses until the store answers; the primary has what follows."
                    if self._receiver.full
                    else "What arrives waits in the spool."
                )
                if state != said:
                    said = state
                    self._say(f"{exc.message} {state}")
                self._pause(min(_FIRST_PAUSE_S * 2**failures, _LONGEST_PAUSE_S))
                continue
            if failures:
                self._say("The store takes what arrives again.")
            return done

    def _pause(self, seconds: float) -> bool:
        """Wait; return whether the archiver is to stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping():
            time.sleep(min(0.1, left))
        return self._stopping()

    def _told(self, what: LogPiece | LogGap | str) -> None:
        report = self.report
        if isinstance(what, LogPiece):
            report.add(what)
        else:
            self._say(report.add_gap(what) if isinstance(what, LogGap) else what)
        self._progress(report)
