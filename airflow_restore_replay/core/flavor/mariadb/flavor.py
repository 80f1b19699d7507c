"""MariaDB as a flavor; the work of each method is in the module of that name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.binlog_cut import clock, cut_before
from airflow_restore_replay.core.flavor.canonical import canonical_text
from airflow_restore_replay.core.flavor.examination import Wanted, examine_primary
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.flavor.identity import same_server
from airflow_restore_replay.core.flavor.kept_logs import kept_logs
from airflow_restore_replay.core.flavor.log_program import LogProgram
from airflow_restore_replay.core.flavor.mariadb import (
    binlog,
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
from airflow_restore_replay.core.flavor.mariadb.dump import MariaDbDump, tls_options
from airflow_restore_replay.core.flavor.mariadb.examinations import EXAMINATIONS, SIGHT
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition, parse_gtid
from airflow_restore_replay.core.flavor.mariadb.server import MariaDbArchiveServer, MariaDbServer
from airflow_restore_replay.core.flavor.mariadb.variables import VARIABLES
from airflow_restore_replay.core.flavor.sql import run
from airflow_restore_replay.core.flavor.tables import event_states
from airflow_restore_replay.core.flavor.values import Conn, Cut, Endpoint, Position


class MariaDbFlavor:
    """See :class:`~airflow_restore_replay.core.flavor.base.Flavor`."""

    name = "mariadb"
    backup_program = "mariadb-backup"
    programs: Mapping[str, Sequence[str]] = MappingProxyType(
        {
            "logical": ("mariadbd", "mariadb-install-db", "mariadb-dump", "mariadb"),
            "physical": ("mariadbd", "mariadb-backup", "mbstream"),
        }
    )
    excluded_files: Sequence[str] = (
        "*master*.info",
        "*relay-log.info",
        "*relay-bin.*",
        "ib_buffer_pool",
        "ibtmp*",
        "#innodb_*temp*",
        "*.pid",
        "*.sock",
        "*.err",
        "core",
        "core.[0-9]*",
        "xtrabackup_*",
        "mariadb_backup_*",
        "backup-my.cnf",
    )
    skippable_files: Sequence[str] = ("*/*.ibd",)
    empty_node_bytes = options.EMPTY_NODE_BYTES
    variables = VARIABLES
    log = binlog.LOG
    log_program = LogProgram(
        "mariadb-binlog",
        package="mariadb-client",
        reader_option="--stop-never-slave-server-id",
        tls=tls_options,
        end_statement=lambda _: "SHOW MASTER STATUS",
    )

    parse_position = staticmethod(MariaDbPosition.parse)
    parse_gtid = staticmethod(parse_gtid)
    server = MariaDbServer
    archive_server = MariaDbArchiveServer
    dump_tools = MariaDbDump
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
    event_states = staticmethod(event_states)
    tables = staticmethod(tables.tables)
    canonical_text = staticmethod(canonical_text)
    definitions = staticmethod(definitions.definitions)

    def examine_primary(self, primary: Conn, wanted: Wanted) -> list[Finding]:
        return examine_primary(primary, wanted, EXAMINATIONS, privileges_of=grants.held)

    def examine_sight(self, primary: Conn) -> list[Finding]:
        wanted = Wanted(seed="", keep_s=0)
        return examine_primary(primary, wanted, SIGHT, privileges_of=grants.held)

    def cut_before(self, primary: Endpoint, boundary: datetime, start: Position) -> Cut:
        return cut_before(
            binlog.LOG, primary, boundary, MariaDbPosition.parse(str(start)), read=binlog.transactions
        )

    def row_digest(self, expression: str) -> str:
        return f"MD5({expression})"

    def limit_statements(self, conn: Conn, seconds: float) -> None:
        run(conn, f"SET SESSION max_statement_time = {seconds:.3f}")

    def restore_hints(self) -> list[str]:
        return [
            "Start the copy with --skip-slave-start first and check that SHOW ALL SLAVES STATUS is empty.",
            "Events are SLAVESIDE_DISABLED in the copy: re-enable those that the manifest lists as ENABLED.",
            "The plugins of the primary must be installed; mysql.plugin names them.",
            "Set innodb_log_file_size for production: the copy's redo log has the minimal size.",
            "MEMORY tables are empty in the copy.",
        ]


if TYPE_CHECKING:
    # The interface is structural; this makes the type checker compare both sides.
    _conforms: Flavor = MariaDbFlavor()
