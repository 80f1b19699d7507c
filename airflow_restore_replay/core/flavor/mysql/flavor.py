"""MySQL as a flavor; the work of each method is in the module of that name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.binlog_cut import clock, cut_before
from airflow_restore_replay.core.flavor.examination import Wanted, examine_primary
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.flavor.identity import same_server
from airflow_restore_replay.core.flavor.log_program import LogProgram
from airflow_restore_replay.core.flavor.mysql import (
    binlog,
    canonical,
    connect,
    copies,
    definitions,
    grants,
    history,
    identity,
    options,
    replication,
    snapshot,
    tables,
)
from airflow_restore_replay.core.flavor.mysql.dialect import dialect
from airflow_restore_replay.core.flavor.mysql.dump import MySqlDump, tls_options
from airflow_restore_replay.core.flavor.mysql.examinations import EXAMINATIONS, SIGHT
from airflow_restore_replay.core.flavor.mysql.gtid import MySqlPosition, parse_gtid
from airflow_restore_replay.core.flavor.mysql.kept_logs import kept_logs
from airflow_restore_replay.core.flavor.mysql.server import MySqlArchiveServer, MySqlServer
from airflow_restore_replay.core.flavor.mysql.variables import VARIABLES
from airflow_restore_replay.core.flavor.sql import run
from airflow_restore_replay.core.flavor.values import Conn, Cut, Endpoint, Position


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
    variables = VARIABLES
    log = binlog.LOG
    log_program = LogProgram(
        "mysqlbinlog",
        package="mysql-client",
        reader_option="--connection-server-id",
        tls=tls_options,
        end_statement=lambda conn: dialect(connect.release(conn)).binlog_status,
    )

    parse_position = staticmethod(MySqlPosition.parse)
    parse_gtid = staticmethod(parse_gtid)
    server = MySqlServer
    archive_server = MySqlArchiveServer
    dump_tools = MySqlDump
    same_server = staticmethod(same_server)
    refuse_release = staticmethod(identity.refuse_release)
    identity = staticmethod(identity.identity)
    connect = staticmethod(connect.connect)
    primary_position = staticmethod(snapshot.primary_position)
    clock = staticmethod(clock)
    kept_logs = staticmethod(kept_logs)
    open_snapshot = staticmethod(snapshot.open_snapshot)
    release_metadata_locks = staticmethod(snapshot.release_metadata_locks)
    last_events = staticmethod(history.last_events)
    check_history = staticmethod(history.check_history)
    executed_position = staticmethod(replication.executed_position)
    set_executed = staticmethod(replication.set_executed)
    start_replication = staticmethod(replication.start_replication)
    replication_status = staticmethod(replication.replication_status)
    stop_replication = staticmethod(replication.stop_replication)
    forget_replication = staticmethod(replication.forget_replication)
    become_replica = staticmethod(copies.become_replica)
    become_primary = staticmethod(copies.become_primary)
    forget_absent = staticmethod(copies.forget_absent)
    unsupported_tables = staticmethod(tables.unsupported_tables)
    uncompared = staticmethod(tables.uncompared)
    memory_tables = staticmethod(tables.memory_tables)
    event_states = staticmethod(tables.event_states)
    tables = staticmethod(tables.tables)
    canonical_text = staticmethod(canonical.canonical_text)
    row_digest = staticmethod(canonical.row_digest)
    definitions = staticmethod(definitions.definitions)

    def examine_primary(self, primary: Conn, wanted: Wanted) -> list[Finding]:
        return examine_primary(primary, wanted, EXAMINATIONS, privileges_of=grants.held)

    def examine_sight(self, primary: Conn) -> list[Finding]:
        wanted = Wanted(seed="", keep_s=0)
        return examine_primary(primary, wanted, SIGHT, privileges_of=grants.held)

    def cut_before(self, primary: Endpoint, boundary: datetime, start: Position) -> Cut:
        return cut_before(
            binlog.LOG, primary, boundary, MySqlPosition.parse(str(start)), read=binlog.transactions
        )

    def limit_statements(self, conn: Conn, seconds: float) -> None:
        run(conn, f"SET SESSION max_execution_time = {max(1, round(seconds * 1000))}")

    def restore_hints(self) -> list[str]:
        return [
            "Start the copy with --skip-replica-start first and check that SHOW REPLICA STATUS is empty.",
            "Events are REPLICA_SIDE_DISABLED in the copy: re-enable those that the manifest lists as ENABLED.",
            "The plugins, components and resource groups of the primary must be made again; mysql.plugin and "
            "mysql.component name them after CLONE, and the manifest after a logical seed. It lists resource groups "
            "only if the account has RESOURCE_GROUP_USER.",
            "Set innodb_redo_log_capacity for production: the copy's redo log has the minimal size.",
            "The copy gets a server UUID of its own (auto.cnf) and new keys (*.pem) at its first start.",
            "MEMORY tables are empty in the copy.",
        ]


if TYPE_CHECKING:
    # The interface is structural; this makes the type checker compare both sides.
    _conforms: Flavor = MySqlFlavor()
