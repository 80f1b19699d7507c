"""Values that the flavor interface exchanges: positions, endpoints, tables, identities, replication status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from pymysql.connections import Connection

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.quoting import joined

Conn: TypeAlias = "Connection[Any]"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Address and account of a server; the password is passed separately, in :class:`Secrets`-like fields.

    ``repr`` never shows the password.

    :param ssl_ca: file of the CA certificates that the server's certificate is verified with; its host name is
        verified, too.
    :param ssl_cert, ssl_key: files of the client certificate and its key, for accounts that REQUIRE X509.
    """

    host: str = "127.0.0.1"
    port: int = 3306
    socket: str | None = None
    user: str = "root"
    password: str = ""
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None

    def __str__(self) -> str:
        return f"{self.user}@{self.socket or f'{self.host}:{self.port}'}"

    def __repr__(self) -> str:
        return f"Endpoint({self})"


def position_text(position: object) -> str:
    """Return a position for people; an empty one, as of a MariaDB that has logged nothing yet, is said."""
    return str(position) or "(empty: the primary had logged no transaction)"


class Position(Protocol):
    """A GTID set: immutable, printable, comparable by containment."""

    def contains(self, other: Position) -> bool:
        """Return whether every transaction of *other* is in this position (*executed ⊇ goal*)."""
        ...

    def lacking(self, goal: Position) -> str:
        """Return the transactions of *goal* that are not in this position, as text for people; ``""`` if none."""
        ...

    def count_lacking(self, goal: Position) -> int:
        """Return how many transactions of *goal* are not in this position; at most, where numbers have gaps."""
        ...

    def union(self, other: Position) -> Position:
        """Return the position of a server that has executed the transactions of both."""
        ...

    def common(self, other: Position) -> Position:
        """Return the position that has the transactions that are in both."""
        ...

    def __str__(self) -> str: ...


class ServerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Identity of a running server.

    :param uid: the same only for the same server instance.
    """

    uid: str
    hostname: str
    port: int
    datadir: str
    server_id: int
    release: str


#: Server ids of replay nodes. No primary may use them, because they show the origin of an errant transaction.
NODE_SERVER_IDS = range(3_900_000_000, 4_000_000_000)
#: Of these, the ids of connections that read the binary log; nodes have the ids before them. A dump thread ends an
#: older one with the same id.
READER_SERVER_IDS = range(3_999_000_000, 3_999_900_000)
#: Of these, the ids of archivers: one for each repository, so that a new one ends the connection of a dead one.
ARCHIVER_SERVER_IDS = range(3_999_900_000, 4_000_000_000)


class EventStamp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last event of one replication domain at a position, as in the primary's binary log.

    :param domain: MariaDB domain id; MySQL source UUID.
    :param gtid: the transaction.
    :param timestamp_s: the event's Unix timestamp.
    :param digest: BLAKE3 of the event group's bytes, without the fields that each server writes itself.
    :param primary_uid: the server whose binary log *digest* was read from; other servers may log other bytes.
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

    :param position: all transactions before that place.
    :param next_gtid, next_stamped: the next transaction and its timestamp; empty and None if the log ends there.
    """

    position: Position
    next_gtid: str = ""
    next_stamped: datetime | None = None


@dataclass(frozen=True)
class Snapshot:
    """A consistent snapshot that is open on a connection.

    :param position: exactly the transactions that it shows.
    :param method: how the exact position was determined, for the manifest.
    :param locked_s: how long writers on the primary had to wait for it, in seconds.
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
        """Return a name that no other table has."""
        return joined(self.schema, self.name)


@dataclass(frozen=True)
class Serving:
    """How the server of a restored copy serves people, instead of replaying for a cycle.

    :param port: TCP port; None for the socket only.
    :param bind: address that the port is on.
    :param writable: whether accounts without the right to override it may write.
    :param logs: whether the server writes a binary log, as a primary and a replica of it do.
    :param server_id: of a server that takes part in replication.
    :param option_file: the primary's settings; None if the backup has none.
    """

    port: int | None = None
    bind: str = "127.0.0.1"
    writable: bool = False
    logs: bool = False
    server_id: int = 1
    option_file: Path | None = None


@dataclass(frozen=True)
class ServerLayout:
    """Paths and settings of a node's server; all files are in the node's directory, mode 0700.

    :param confine: ``node.confine``: whether the server's process must be confined, or may run without it.
    :param readable: files and directories outside the node's directory that a confined server may read and execute,
        beside the usual ones: of TLS, or ``node.readable``.
    :param primary_port: the TCP port that a confined server may connect to; None for any port, 0 for none.
    :param served_port: the TCP port of loopback that the server listens on; None for no port, as a node.
    :param variables: the primary's settings that the server has, too, as the flavor's table of variables reads them.
    :param serving: of a restored copy that people use; None for a node.
    """

    datadir: Path
    run_dir: Path
    tmp_dir: Path
    log_path: Path
    plugin_dir: Path
    bindir: Path | None = None
    buffer_pool_bytes: int = 256 * 2**20
    server_id: int = 3_900_000_001
    confine: Literal["require", "prefer", "off"] = "prefer"
    readable: tuple[Path, ...] = ()
    primary_port: int | None = None
    served_port: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    serving: Serving | None = None

    @classmethod
    def for_asking(cls, scratch: Path, bindir: str | None) -> ServerLayout:
        """Return the layout of a server that is never started, to look up its programs and release."""
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

    :param applied: the position that the node has executed.
    :param received: the transactions that the node has received completely, applied or not.
    :param arriving: opaque; if it differs between two readings, the I/O thread has received something.
    :param progress: opaque; if it differs between two readings, the applier has progressed (GTID, relay log
        position, rows, I/O). So a long ALTER, or a DELETE on a table without a key, is no stall.
    :param transactions: number of transactions applied since replication was configured.
    :param lag_s: seconds behind the primary, as the server reports them; None if it reports none.
    :param error: the classified error, if a thread stopped because of one.
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
