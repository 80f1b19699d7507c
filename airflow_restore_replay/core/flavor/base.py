"""The flavor interface: all that differs between MariaDB and MySQL, and nothing else.

Jobs, checks and the cycle are written against these interfaces. A flavor knows how its server starts and
stops, how positions compare, how replication is controlled, and what a server's error blames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from airflow_restore_replay.core.flavor.kept_logs import KeptLogs
from airflow_restore_replay.core.flavor.values import (
    Conn,
    Cut,
    Endpoint,
    EventStamp,
    Position,
    ReplicationStatus,
    ServerIdentity,
    ServerLayout,
    Snapshot,
    Table,
)

if TYPE_CHECKING:
    from airflow_restore_replay.core.flavor.archive_server import ArchiveServer, Service
    from airflow_restore_replay.core.flavor.binlogstream import BinaryLog, Numbered
    from airflow_restore_replay.core.flavor.definitions import Definitions
    from airflow_restore_replay.core.flavor.examination import Wanted
    from airflow_restore_replay.core.flavor.findings import Finding
    from airflow_restore_replay.core.flavor.log_program import LogProgram
    from airflow_restore_replay.core.flavor.node_server import NodeServer
    from airflow_restore_replay.core.flavor.seeding import DumpTools
    from airflow_restore_replay.core.flavor.variables import Variables


class Flavor(Protocol):
    """MariaDB or MySQL."""

    name: str
    #: the program that makes physical copies; "" if the server does that itself
    backup_program: str
    #: by seed method: the server program, then the programs that the seed runs on the node
    programs: Mapping[str, Sequence[str]]
    #: shell glob patterns, relative to the data directory, of files that never enter a snapshot
    excluded_files: Sequence[str]
    #: patterns of files that a snapshot need not read if they are unchanged: tables of a transactional engine, each of
    #: which is written to its own file only. Never logs, system tablespaces or files of other engines.
    skippable_files: Sequence[str]
    #: disk space of a replaying node without any data
    empty_node_bytes: int
    #: the class of each variable, and the primary's settings that a node has, too
    variables: Variables
    #: how its binary log is read
    log: BinaryLog[Any, Any]
    #: the program that copies it
    log_program: LogProgram

    def parse_position(self, text: str) -> Position: ...

    def parse_gtid(self, text: str) -> Numbered:
        """Parse the GTID of one transaction.

        :raises AnswerUnreadable: it is none.
        """
        ...

    def server(self, layout: ServerLayout) -> NodeServer: ...

    def archive_server(self, layout: ServerLayout, service: Service) -> ArchiveServer:
        """Return a server that has archived binary logs and no data."""
        ...

    def connect(self, endpoint: Endpoint, *, read_timeout_s: int = ...) -> Conn:
        """Return an autocommit connection with utf8mb4, session time zone UTC and a bounded connect timeout.

        :param read_timeout_s: how long to wait for an answer; that of long queries by default.
        :raises PrimaryUnreachable: the server does not answer.
        :raises ReplicationDenied: the password or a grant is wrong.
        """
        ...

    def identity(self, conn: Conn) -> ServerIdentity: ...

    def same_server(self, a: ServerIdentity, b: ServerIdentity) -> bool: ...

    def refuse_release(self, *, backup: str | None, node: str, primary: str) -> None:
        """Raise unless backup ≤ node ≤ primary, by release series.

        :raises ReleaseRefused: the releases are not in that order.
        """
        ...

    def examine_primary(self, primary: Conn, wanted: Wanted) -> list[Finding]:
        """Return what was found about each precondition of the primary: binary log, GTIDs, grants, tables, …"""
        ...

    def examine_sight(self, primary: Conn) -> list[Finding]:
        """Return the findings that say whether the account sees all that the primary has; cheap."""
        ...

    def primary_position(self, primary: Conn) -> Position:
        """Return the position of everything in the primary's binary log, which becomes the goal."""
        ...

    def kept_logs(self, primary: Conn) -> KeptLogs:
        """Return how long the primary keeps its binary logs, by its settings."""
        ...

    def clock(self, primary: Conn) -> datetime:
        """Return the primary's time in UTC, independent of its time zone, by the clock that stamps its events."""
        ...

    def cut_before(self, primary: Endpoint, boundary: datetime, start: Position) -> Cut:
        """Find the first transaction in the primary's binary log that is stamped at or after *boundary*.

        The log is read in its order, from *start*.

        :raises BinlogPurged: the files with the transactions after *start* were purged.
        :raises PreflightFailed: *start* itself has a transaction stamped at or after *boundary*.
        """
        ...

    def executed_position(self, node: Conn) -> Position: ...

    def set_executed(self, node: Conn, position: Position) -> None:
        """Set the executed position of a seeded node to *position*."""
        ...

    def open_snapshot(self, primary: Endpoint, conn: Conn) -> Snapshot:
        """Begin a consistent snapshot on *conn*, a connection to *primary*, without a lasting lock."""
        ...

    def release_metadata_locks(self, conn: Conn) -> bool:
        """Release the metadata locks that the snapshot's reads hold, if the server can.

        :param conn: the connection with the open snapshot.
        :returns: False if a session waits for a metadata lock that only ending the snapshot transaction releases.
        """
        ...

    def last_events(
        self, primary: Endpoint, position: Position, hints: Sequence[EventStamp] = ()
    ) -> list[EventStamp]:
        """Read the last event of each domain of *position* from the primary's binary log.

        A domain whose event is no longer in any binary log file has no stamp.

        :raises HistoryDiverged: the binary log covers that position, but does not contain the transaction.
        """
        ...

    def check_history(self, primary: Endpoint, position: Position, recorded: Sequence[EventStamp]) -> None:
        """Raise, before replay, if the history of the base is not the primary's.

        :raises HistoryDiverged: an event with the same GTID differs, or the primary was rewound.
        :raises ErrantFromFormerPrimary: the base has transactions that the primary lacks.
        :raises ErrantFromNode: the base has such transactions, and an earlier replay node wrote them.
        :raises BinlogPurged: the needed binary logs were purged.
        """
        ...

    def start_replication(
        self, node: Conn, primary: Endpoint, *, until: Position | None, appliers: int
    ) -> None:
        """Replicate by GTID from the node's executed position, and stop exactly at *until* if it is given."""
        ...

    def replication_status(self, node: Conn) -> ReplicationStatus: ...

    def stop_replication(self, node: Conn) -> None:
        """Stop the I/O thread and the applier when no temporary table of the replication stream is open.

        :raises CatchUpStalled: temporary tables stay open (MIXED/STATEMENT); replicate further and retry.
        """
        ...

    def forget_replication(self, node: Conn) -> None:
        """Reset replication: no file holds the primary's address or password then; the executed position stays."""
        ...

    def become_replica(self, copy: Conn, source: Endpoint) -> None:
        """Let a restored copy replicate from *source* for good, from its executed position, with its credentials."""
        ...

    def become_primary(self, copy: Conn, position: Position) -> None:
        """Let a restored copy that contains *position* forget replication, and log what follows after *position*."""
        ...

    def forget_absent(self, copy: Conn, wanted: Callable[[str, str], bool]) -> None:
        """Drop the tables that a copy of a few tables names without having their files.

        :param wanted: whether the copy has the files of a table, by schema and name.
        """
        ...

    def tables(self, conn: Conn) -> list[Table]:
        """Return the base tables of users' schemas, without sequences and replication's own tables."""
        ...

    def unsupported_tables(self, conn: Conn) -> dict[str, str]:
        """Return ``schema.table`` → why a snapshot cannot contain it (engine, DATA DIRECTORY, …)."""
        ...

    def uncompared(self, conn: Conn) -> dict[str, str]:
        """Return ``schema.table`` → why a snapshot comparison does not cover it (engine, sequence, …)."""
        ...

    def event_states(self, conn: Conn) -> dict[str, str]:
        """Return ``schema.event`` → status as on the primary, so that a real restore can enable events again."""
        ...

    def canonical_text(self, column_type: str, expression: str) -> str:
        """Return SQL that converts a column to bytes that are equal exactly for equal values."""
        ...

    def row_digest(self, expression: str) -> str:
        """Return SQL for a digest of bytes: at least 128 bits, in hexadecimal."""
        ...

    def limit_statements(self, conn: Conn, seconds: float) -> None:
        """Make the server end queries on *conn* that take longer than *seconds*."""
        ...

    def definitions(self, conn: Conn) -> Definitions:
        """Return accounts, privileges, routines, triggers, events and views."""
        ...

    def dump_tools(self) -> DumpTools: ...

    def restore_hints(self) -> list[str]:
        """Return hints for a person who starts the restored copy."""
        ...
