"""What crosses the flavor seam: positions, endpoints, tables, and what a server says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec
from pymysql.connections import Connection

from airflow_restore_replay.core.errors import RestoreReplayError

Conn: TypeAlias = "Connection[Any]"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where and as whom to reach a server; the password travels apart, in :class:`Secrets`-like fields.

    :param ssl_ca: certificates that the server's must be signed by; its host name is checked, too.
    :param ssl_cert, ssl_key: who we are, for accounts that REQUIRE X509.

    ``repr`` never shows the password.
    """

    host: str = "127.0.0.1"
    port: int = 3306
    socket: str | None = None
    user: str = "root"
    password: str = ""
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.user}@{self.socket or f'{self.host}:{self.port}'})"


class Position(Protocol):
    """A GTID set: immutable, printable, comparable by containment."""

    def contains(self, other: Position) -> bool:
        """:returns: whether every transaction of *other* is in this position (*executed ⊇ goal*)."""
        ...

    def lacking(self, goal: Position) -> str:
        """:returns: what *goal* has beyond this position, for people; ``""`` when nothing."""
        ...

    def __str__(self) -> str: ...


class ServerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a running server is; equal only for the very same server instance."""

    uid: str
    hostname: str
    port: int
    datadir: str
    server_id: int
    release: str


#: Server ids of replay nodes. No primary may use them: they tell an errant transaction's origin.
NODE_SERVER_IDS = range(3_900_000_000, 4_000_000_000)


class EventStamp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last event of one replication domain at a position, as the primary had it.

    :param domain: MariaDB domain id; MySQL source UUID.
    :param gtid: the transaction.
    :param timestamp_s: the event's Unix timestamp.
    :param digest: BLAKE3 of the event group's bytes without what a server restamps.
    :param primary_uid: the server whose binary log *digest* was read from; others may log other bytes.
    :param file, offset: where the event begins in that server's binary log, to re-read it cheaply.
    """

    domain: str
    gtid: str
    timestamp_s: int
    digest: str
    primary_uid: str
    file: str = ""
    offset: int = 0


@dataclass(frozen=True)
class Cut:
    """A place in a primary's binary log.

    :param position: everything before it.
    :param next_gtid, next_stamped: the transaction that follows, and its stamp; none when the log ends there.
    """

    position: Position
    next_gtid: str = ""
    next_stamped: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """A consistent snapshot, open on a connection.

    :param position: exactly what it shows.
    :param method: how it was made exact, for the manifest.
    :param locked_s: for how long writers of the primary had to wait for it.
    """

    position: Position
    method: str
    locked_s: float = 0.0


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A base table.

    :param engine: storage engine's name as the server prints it.
    :param mvcc: whether a consistent snapshot covers it.
    :param rows_estimate: the server's estimate.
    """

    schema: str
    name: str
    engine: str
    mvcc: bool
    rows_estimate: int = 0
    data_bytes: int = 0

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class ServerLayout:
    """Where a node's server keeps its files; all of it inside the node's directory, mode 0700."""

    datadir: Path
    run_dir: Path
    tmp_dir: Path
    log_path: Path
    plugin_dir: Path
    bindir: Path | None = None
    buffer_pool_bytes: int = 256 * 2**20
    server_id: int = 3_900_000_001

    @classmethod
    def for_asking(cls, scratch: Path, bindir: str | None) -> ServerLayout:
        """:returns: of a server that is not started, only asked for its programs and release."""
        return cls(
            datadir=scratch / "data",
            run_dir=scratch / "run",
            tmp_dir=scratch / "tmp",
            log_path=scratch / "log",
            plugin_dir=scratch / "plugin",
            bindir=Path(bindir) if bindir else None,
        )


@dataclass(frozen=True)
class ReplicationStatus:
    """One reading of the node's replication.

    :param applied: what the node has executed.
    :param received: the transactions that have come from the primary as a whole, applied or not.
    :param arriving: opaque; two readings that differ in it mean that the receiver got something.
    :param progress: opaque; two readings that differ in it mean that the applier moved (GTID, relay log
        position, rows, I/O), so a long ALTER or a keyless DELETE is not a stall.
    :param transactions: transactions applied since replication was configured.
    :param error: the classified error, when a thread stopped because of one.
    """

    applied: Position
    io_running: bool
    io_connecting: bool
    applier_running: bool
    progress: tuple[Any, ...]
    transactions: int
    received: Position
    arriving: tuple[Any, ...] = ()
    lag_s: float | None = None
    error: RestoreReplayError | None = None


@dataclass(frozen=True)
class PreflightReport:
    """What stands against replaying from a primary.

    :param refusals: name → what to change; non-empty means: do not start.
    :param warnings: name → what a person should know (statement-based logging, …).
    """

    refusals: Mapping[str, str] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)
