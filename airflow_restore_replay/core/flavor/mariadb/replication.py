"""Control a node's replication.

MariaDB's statements still say SLAVE; this package says replica.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_restore_replay.core.flavor import memory_tables, replication
from airflow_restore_replay.core.flavor.mariadb import classify
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition
from airflow_restore_replay.core.flavor.sql import dicts, rows, run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position, ReplicationStatus

# The engine is a plugin that is loaded for the run of the server only; a restored copy must not ask for it.
_LOAD_BLACKHOLE = ("INSTALL SONAME 'ha_blackhole'", "DELETE FROM mysql.plugin WHERE name = 'BLACKHOLE'")

# Replicated SQL may have turned logs on, which are in the copy; the server writes the password there as it is.
_UNLOGGED = "SET SESSION sql_log_off = 1, slow_query_log = 0"

# Counters that change while one long event is applied, when the positions do not. Counters that reading the status
# changes itself (Handler_write, Handler_read_rnd_next: SHOW fills a temporary table) would hide every stall.
_COUNTERS = "'Innodb_data_written','Handler_update','Handler_delete','Key_write_requests'"
# Progress of an ALTER, because 10.6 and later have no status variables that count InnoDB rows.
_STAGES = "SELECT STAGE, PROGRESS FROM information_schema.PROCESSLIST WHERE USER = 'system user' ORDER BY ID"
_TRANSACTIONS = ("Replica_DDL_Groups", "Replica_Non_Transactional_Groups", "Replica_Transactional_Groups")


def executed_position(node: Conn) -> MariaDbPosition:
    """Return the position that the node has executed."""
    return MariaDbPosition.parse(str(value(node, "SELECT @@GLOBAL.gtid_slave_pos")))


def set_executed(node: Conn, position: Position) -> None:
    """Set the node's executed position to *position*; replication must be stopped."""
    run(node, "SET GLOBAL gtid_slave_pos = %s", (str(position),))


def start_replication(node: Conn, primary: Endpoint, *, until: Position | None, appliers: int) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.start_replication`."""
    run(node, "STOP SLAVE")
    if until is not None and executed_position(node).contains(until):
        return
    _set_global(node, "slave_parallel_threads", appliers if appliers > 1 else 0)
    _set_global(node, "slave_parallel_mode", "optimistic")
    memory_tables.set_aside(node, load=_LOAD_BLACKHOLE)
    run(node, _UNLOGGED)
    run(node, *change_master(primary))
    if until is None:
        run(node, "START SLAVE")
    else:
        run(node, "START SLAVE UNTIL master_gtid_pos = %s", (str(until),))
    _remove_stored_password(node)


def _remove_stored_password(node: Conn) -> None:
    """Remove ``master.info``, which holds the primary's password in clear.

    The server keeps the file open and goes on to write to it. Nothing reads it: a server that ends while it replicates
    is never started again.
    """
    Path(str(value(node, "SELECT @@relay_log_basename"))).with_name("master.info").unlink(missing_ok=True)


def stop_replication(node: Conn) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.stop_replication`."""
    replication.stop_replication(node, replica="SLAVE", status="Slave")
    memory_tables.put_back(node, load=_LOAD_BLACKHOLE)


def forget_replication(node: Conn) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.forget_replication`."""
    run(node, "STOP SLAVE")
    run(node, "RESET SLAVE ALL")
    memory_tables.put_back(node, load=_LOAD_BLACKHOLE)


@replication.understood
def replication_status(node: Conn) -> ReplicationStatus:
    """Return one reading of the node's replication, without waiting for a busy applier."""
    # Read first, so that the counters read after it cover at least these transactions.
    applied = executed_position(node)
    found = dicts(node, "SHOW ALL SLAVES STATUS")
    if not found:
        return replication.unconfigured(applied)
    row = replication.in_new_words(found[0])
    return replication.status_of(
        row,
        applied=applied,
        received=MariaDbPosition.parse(row["Gtid_IO_Pos"]),
        arriving=row["Gtid_IO_Pos"],
        progress=(*replication.counters(node, _COUNTERS), *rows(node, _STAGES)),
        transactions=sum(int(row.get(name) or 0) for name in _TRANSACTIONS),
        error=replication.error_of(node, row, applied, classify.RULES),
    )


def change_master(primary: Endpoint) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that sets the primary, with credentials, and its arguments."""
    sql = (
        "CHANGE MASTER TO MASTER_HOST=%s, MASTER_PORT=%s, MASTER_USER=%s, MASTER_PASSWORD=%s,"
        f" MASTER_CONNECT_RETRY={replication.CONNECT_RETRY_S}, MASTER_HEARTBEAT_PERIOD=5, MASTER_USE_GTID=slave_pos"
    )
    args: tuple[Any, ...] = (primary.host, primary.port, primary.user, primary.password)
    # Set all of them each time, because RESET SLAVE ALL keeps the old values (10.11).
    files = {"CA": primary.ssl_ca, "CERT": primary.ssl_cert, "KEY": primary.ssl_key}
    encrypted, verified = bool(primary.ssl_ca or primary.ssl_cert), bool(primary.ssl_ca)
    sql += f", MASTER_SSL={encrypted:d}, MASTER_SSL_VERIFY_SERVER_CERT={verified:d}"
    sql += "".join(f", MASTER_SSL_{name}=%s" for name in files)
    return sql, (*args, *(path or "" for path in files.values()))


def _set_global(node: Conn, name: str, setting: object) -> None:
    run(node, f"SET GLOBAL {name} = %s", (setting,))
