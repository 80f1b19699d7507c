"""MySQL as a flavor; the work of each method is in the module of that name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.definitions import Definitions
from airflow_restore_replay.core.flavor.examination import Wanted, examine_primary
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.flavor.mysql import binlog_cut as cut
from airflow_restore_replay.core.flavor.mysql import (
    canonical,
    connect,
    definitions,
    grants,
    history,
    identity,
    options,
    replication,
    snapshot,
    tables,
)
from airflow_restore_replay.core.flavor.mysql.dump import MySqlDump
from airflow_restore_replay.core.flavor.mysql.examinations import EXAMINATIONS
from airflow_restore_replay.core.flavor.mysql.gtid import MySqlPosition
from airflow_restore_replay.core.flavor.mysql.server import MySqlServer
from airflow_restore_replay.core.flavor.sql import run
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


class MySqlFlavor:
    """See :class:`~airflow_restore_replay.core.flavor.base.Flavor`."""

    name = "mysql"
    backup_program = ""
    programs: Mapping[str, Sequence[str]] = MappingProxyType(
        {"logical": ("mysqld", "mysqldump", "mysql"), "clone": ("mysqld", "mysqldump", "mysql")}
    )
    excluded_files: Sequence[str] = (
        # The node's server UUID, and key pairs, which a server generates by itself.
        "auto.cnf",
        "*.pem",
        "mysqld-auto.cnf",
        "*relay-bin*",
        "#innodb_redo/#ib_redo*_tmp",
        "#innodb_temp/*",
        "#clone/*",
        "#ib_*.dblwr",
        "ib_buffer_pool",
        "ibtmp*",
        "*.pid",
        "*.sock",
        "*.sock.lock",
        "*.err",
        "core",
        "core.[0-9]*",
    )
    skippable_files: Sequence[str] = ("*/*.ibd",)
    empty_node_bytes = options.EMPTY_NODE_BYTES

    def parse_position(self, text: str) -> MySqlPosition:
        return MySqlPosition.parse(text)

    def server(self, layout: ServerLayout) -> MySqlServer:
        return MySqlServer(layout)

    def connect(self, endpoint: Endpoint) -> Conn:
        return connect.connect(endpoint)

    def identity(self, conn: Conn) -> ServerIdentity:
        return identity.identity(conn)

    def same_server(self, a: ServerIdentity, b: ServerIdentity) -> bool:
        return identity.same_server(a, b)

    def refuse_release(self, *, backup: str | None, node: str, primary: str) -> None:
        identity.refuse_release(backup=backup, node=node, primary=primary)

    def examine_primary(self, primary: Conn, wanted: Wanted) -> list[Finding]:
        return examine_primary(primary, wanted, EXAMINATIONS, privileges_of=grants.held)

    def primary_position(self, primary: Conn) -> MySqlPosition:
        return snapshot.primary_position(primary)

    def clock(self, primary: Conn) -> datetime:
        return snapshot.clock(primary)

    def cut_before(self, primary: Endpoint, boundary: datetime, start: Position) -> Cut:
        return cut.cut_before(primary, boundary, MySqlPosition.parse(str(start)))

    def executed_position(self, node: Conn) -> MySqlPosition:
        return replication.executed_position(node)

    def set_executed(self, node: Conn, position: Position) -> None:
        replication.set_executed(node, position)

    def open_snapshot(self, primary: Endpoint, conn: Conn) -> Snapshot:
        return snapshot.open_snapshot(primary, conn)

    def give_way(self, conn: Conn) -> bool:
        return snapshot.give_way(conn)

    def last_events(
        self, primary: Endpoint, position: Position, hints: Sequence[EventStamp] = ()
    ) -> list[EventStamp]:
        return history.last_events(primary, MySqlPosition.parse(str(position)), hints)

    def check_history(self, primary: Endpoint, position: Position, recorded: Sequence[EventStamp]) -> None:
        history.check_history(primary, MySqlPosition.parse(str(position)), recorded)

    def start_replication(
        self, node: Conn, primary: Endpoint, *, until: Position | None, appliers: int
    ) -> None:
        replication.start_replication(node, primary, until=until, appliers=appliers)

    def replication_status(self, node: Conn) -> ReplicationStatus:
        return replication.replication_status(node)

    def stop_replication(self, node: Conn) -> None:
        replication.stop_replication(node)

    def forget_replication(self, node: Conn) -> None:
        replication.forget_replication(node)

    def tables(self, conn: Conn) -> list[Table]:
        return tables.tables(conn)

    def unsupported_tables(self, conn: Conn) -> dict[str, str]:
        return tables.unsupported_tables(conn)

    def uncompared(self, conn: Conn) -> dict[str, str]:
        return tables.uncompared(conn)

    def memory_tables(self, conn: Conn) -> list[Table]:
        """Return the MEMORY tables: they are not replicated to a node, and empty in every restored copy."""
        return tables.memory_tables(conn)

    def event_states(self, conn: Conn) -> dict[str, str]:
        return tables.event_states(conn)

    def canonical_text(self, column_type: str, expression: str) -> str:
        return canonical.canonical_text(column_type, expression)

    def row_digest(self, expression: str) -> str:
        return canonical.row_digest(expression)

    def limit_statements(self, conn: Conn, seconds: float) -> None:
        run(conn, f"SET SESSION max_execution_time = {max(1, round(seconds * 1000))}")

    def definitions(self, conn: Conn) -> Definitions:
        return definitions.definitions(conn)

    def dump_tools(self) -> MySqlDump:
        return MySqlDump()

    def restore_hints(self) -> list[str]:
        return [
            "Start the copy with --skip-replica-start first and check that SHOW REPLICA STATUS is empty.",
            "Events are REPLICA_SIDE_DISABLED in the copy: re-enable those that the manifest lists as ENABLED.",
            "The plugins and components of the primary must be installed; mysql.plugin and mysql.component name them.",
            "Set innodb_redo_log_capacity for production: the copy's redo log has the minimal size.",
            "The copy gets a server UUID of its own (auto.cnf) and new keys (*.pem) at its first start.",
            "MEMORY tables are empty in the copy.",
        ]


if TYPE_CHECKING:
    # The interface is structural; this makes the type checker compare both sides.
    _conforms: Flavor = MySqlFlavor()
