"""The flavor seam: all that differs between MariaDB and MySQL, and nothing else.

Jobs, checks and the cycle are written against these interfaces. A flavor knows how its server starts and
stops, how positions compare, how replication is driven, and whom a server's error blames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from airflow_restore_replay.core.flavor.values import (
    Conn,
    Cut,
    Endpoint,
    EventStamp,
    Position,
    PreflightReport,
    ReplicationStatus,
    ServerIdentity,
    ServerLayout,
    Snapshot,
    Table,
)
from airflow_restore_replay.core.system.processes import ProcessId

if TYPE_CHECKING:
    from airflow_restore_replay.core.flavor.definitions import Definitions
    from airflow_restore_replay.core.flavor.findings import Finding, Wanted
    from airflow_restore_replay.core.flavor.seeding import DumpTools


class NodeServer(Protocol):
    """The server process of a replay node. Every method may be called from another process than the one that
    started the server: the state is in the node's directory."""

    layout: ServerLayout

    def release(self) -> str:
        """:returns: the installed server's release, ``10.11.19``.

        :raises PreflightFailed: the program is not installed; names the package.
        """
        ...

    def program(self, name: str) -> str:
        """:returns: path of one of the server's programs.

        :raises PreflightFailed: it is not installed; names the package.
        """
        ...

    def initialize(self) -> None:
        """Create an empty data directory (before a logical seed)."""
        ...

    def start(self, *, replaying: bool) -> None:
        """Start on the data directory: socket only, read_only, event scheduler off, own id, no autostart of
        replication, curated plugins, agent account by init file.

        :param replaying: throw-away durability; False gives full durability.
        :raises ServerStartFailed: it did not come up; evidence has the server's own error lines.
        :raises NodeFull: its log says the disk is full.
        """
        ...

    def connect(self) -> Conn:
        """:returns: an autocommit connection as the agent's socket-only account, utf8mb4, UTC."""
        ...

    def endpoint(self) -> Endpoint:
        """:returns: the agent's way in: the socket of the running server."""
        ...

    def alive(self) -> bool: ...

    @property
    def process(self) -> ProcessId | None:
        """The server's process, as noted at its start; it may be gone."""
        ...

    def await_exit(self, timeout_s: float) -> bool:
        """:returns: whether the server ended by itself in time."""
        ...

    def log_errors(self) -> list[str]:
        """:returns: error lines since the last start that blame the data (known harmless ones left out)."""
        ...

    def stop(self) -> None:
        """Restore full durability, drop the agent's account, stop cleanly and wait for the exit.

        :raises NodeServerCrashed: the stop was not clean.
        """
        ...

    def kill(self) -> None:
        """SIGKILL and wait; idempotent."""
        ...


class Flavor(Protocol):
    """One of MariaDB, MySQL."""

    name: str
    #: the program that makes physical copies, "" where the server does that itself
    backup_program: str
    #: by seed method: the server, then what the seed runs on the node
    programs: Mapping[str, Sequence[str]]
    #: shell glob patterns, relative to the data directory, of files that never enter a snapshot
    excluded_files: Sequence[str]
    #: patterns of files that a snapshot need not read when nothing touched them: tables of a transactional engine that
    #: writes to nothing but its own file. Never logs, system tablespaces or files of other engines.
    skippable_files: Sequence[str]

    def parse_position(self, text: str) -> Position: ...

    def server(self, layout: ServerLayout) -> NodeServer: ...

    def connect(self, endpoint: Endpoint) -> Conn:
        """:returns: an autocommit connection, utf8mb4, session time zone UTC, bounded connect timeout.

        :raises PrimaryUnreachable: nothing answers.
        :raises ReplicationDenied: the password or a grant is wrong.
        """
        ...

    def identity(self, conn: Conn) -> ServerIdentity: ...

    def same_server(self, a: ServerIdentity, b: ServerIdentity) -> bool: ...

    def refuse_release(self, *, backup: str | None, node: str, primary: str) -> None:
        """:raises ReleaseRefused: unless backup ≤ node ≤ primary, by release series."""
        ...

    def preflight(self, primary: Conn) -> PreflightReport:
        """Binary log on, GTID, filters, format, grants, engines and table options that cannot be carried."""
        ...

    def examine(self, primary: Conn, wanted: Wanted) -> list[Finding]:
        """:returns: each precondition of the primary, those of :meth:`preflight` and others, with what fixes it."""
        ...

    def primary_position(self, primary: Conn) -> Position:
        """:returns: everything in the primary's binary log: the goal."""
        ...

    def clock(self, primary: Conn) -> datetime:
        """:returns: the primary's time, UTC whatever its time zone is: the clock that stamps its events."""
        ...

    def cut_before(self, primary: Endpoint, boundary: datetime, start: Position) -> Cut:
        """Read the primary's binary log, in its order, from *start* to the first transaction stamped at or
        after *boundary*.

        :raises BinlogPurged: the files that hold what follows *start* are gone.
        :raises PreflightFailed: *start* itself has a transaction stamped at or after *boundary*.
        """
        ...

    def executed_position(self, node: Conn) -> Position: ...

    def set_executed(self, node: Conn, position: Position) -> None:
        """Declare that a seeded node's data is *position*."""
        ...

    def open_snapshot(self, primary: Endpoint, conn: Conn) -> Snapshot:
        """Begin a consistent snapshot on *conn*, a connection to *primary*, without a lasting lock."""
        ...

    def give_way(self, conn: Conn) -> bool:
        """Let go of the tables that a snapshot's reads keep from being altered.

        :param conn: in the midst of the snapshot.
        :returns: whether it can be gone on with; if not, somebody waits for a table that only the snapshot's end frees.
        """
        ...

    def last_events(
        self, primary: Endpoint, position: Position, hints: Sequence[EventStamp] = ()
    ) -> list[EventStamp]:
        """Read the last event of each domain of *position* from the primary's binary log.

        A domain whose event is no longer in any binary log file has no stamp.

        :raises HistoryDiverged: the primary's log covers the place, but the transaction is not there.
        """
        ...

    def check_history(self, primary: Endpoint, position: Position, recorded: Sequence[EventStamp]) -> None:
        """Refuse a base whose history is not the primary's, before replay.

        :raises HistoryDiverged: an event under the same GTID differs, or the primary was rewound.
        :raises ErrantFromFormerPrimary: the base has transactions that the primary lacks.
        :raises ErrantFromNode: and their origin is an earlier replay node.
        :raises BinlogPurged: the needed binary logs are gone.
        """
        ...

    def start_replication(
        self, node: Conn, primary: Endpoint, *, until: Position | None, appliers: int
    ) -> None:
        """Replicate by GTID from what the node has executed, stopping exactly at *until* when given."""
        ...

    def replication_status(self, node: Conn) -> ReplicationStatus: ...

    def stop_replication(self, node: Conn) -> None:
        """Stop both threads; no temporary table of the stream may be open.

        :raises CatchUpStalled: temporary tables stay open (MIXED/STATEMENT); replicate further and retry.
        """
        ...

    def forget_replication(self, node: Conn) -> None:
        """RESET: afterwards no file holds the primary's address or password, the executed position stays."""
        ...

    def tables(self, conn: Conn) -> list[Table]:
        """:returns: base tables of users' schemas, sequences and replication's own tables left out."""
        ...

    def unsupported_tables(self, conn: Conn) -> dict[str, str]:
        """:returns: ``schema.table`` → why a snapshot cannot carry it (engine, DATA DIRECTORY, …)."""
        ...

    def uncompared(self, conn: Conn) -> dict[str, str]:
        """:returns: ``schema.table`` → why a snapshot comparison does not cover it (engine, sequence, …)."""
        ...

    def event_states(self, conn: Conn) -> dict[str, str]:
        """:returns: ``schema.event`` → status as on the primary, for re-enabling on a real restore."""
        ...

    def canonical_text(self, column_type: str, expression: str) -> str:
        """:returns: SQL that turns a column into bytes which are equal exactly for equal values."""
        ...

    def row_digest(self, expression: str) -> str:
        """:returns: SQL of a digest of bytes, at least 128 bits in hexadecimal."""
        ...

    def limit_statements(self, conn: Conn, seconds: float) -> None:
        """Have the server end queries on *conn* that take longer."""
        ...

    def definitions(self, conn: Conn) -> Definitions:
        """:returns: accounts, privileges, routines, triggers, events and views."""
        ...

    def dump_tools(self) -> DumpTools: ...

    def restore_hints(self) -> list[str]:
        """:returns: what to tell a person who starts the restored copy."""
        ...
