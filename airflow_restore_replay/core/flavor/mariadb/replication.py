"""Control a node's replication.

MariaDB's statements still say SLAVE; this package says replica.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.errors import CatchUpStalled, RestoreReplayError
from airflow_restore_replay.core.flavor.mariadb import classify, tables
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition
from airflow_restore_replay.core.flavor.sql import dicts, rows, run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position, ReplicationStatus

_CONNECT_RETRY_S = 2
_TEMP_TABLE_TRIES = 20

# Counters that change while one long event is applied, when the positions do not. Counters that reading the status
# changes itself (Handler_write, Handler_read_rnd_next: SHOW fills a temporary table) would hide every stall.
_COUNTERS = "'Innodb_data_written','Handler_update','Handler_delete','Key_write_requests'"
# Progress of an ALTER, because 10.6 and later have no status variables that count InnoDB rows.
_STAGES = "SELECT STAGE, PROGRESS FROM information_schema.PROCESSLIST WHERE USER = 'system user' ORDER BY ID"


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
    # A restart of node or primary empties MEMORY tables, and missing rows would stop the applier. The manifest names
    # these tables.
    _set_global(node, "replicate_wild_ignore_table", tables.wild_patterns(tables.memory_tables(node)))
    run(node, *_change_master(primary))
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
    for attempt in range(_TEMP_TABLE_TRIES):
        run(node, "STOP SLAVE SQL_THREAD")
        if not _open_temp_tables(node):
            run(node, "STOP SLAVE")
            return
        if attempt + 1 < _TEMP_TABLE_TRIES:
            run(node, "START SLAVE SQL_THREAD")
            time.sleep(0.5)
    raise CatchUpStalled(
        f"The replication stream keeps {_open_temp_tables(node)} temporary tables open; a snapshot would lose"
        " them.",
        hint="Use binlog_format=ROW on the primary, or let the node replicate further and try again.",
    )


def forget_replication(node: Conn) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.forget_replication`."""
    run(node, "STOP SLAVE")
    run(node, "RESET SLAVE ALL")
    _set_global(node, "replicate_wild_ignore_table", "")


def replication_status(node: Conn) -> ReplicationStatus:
    """Return one reading of the node's replication, without waiting for a busy applier."""
    applied = executed_position(
        node
    )  # read first, so that the counters read after it cover at least these transactions
    found = dicts(node, "SHOW ALL SLAVES STATUS")
    if not found:
        return ReplicationStatus(
            applied=applied,
            io_running=False,
            io_connecting=False,
            applier_running=False,
            progress=(str(applied),),
            transactions=0,
            received=applied,
        )
    row = found[0]
    lag = row.get("Seconds_Behind_Master")
    return ReplicationStatus(
        applied=applied,
        io_running=row["Slave_IO_Running"] == "Yes",
        io_connecting=row["Slave_IO_Running"] in ("Connecting", "Preparing"),
        applier_running=row["Slave_SQL_Running"] == "Yes",
        progress=_progress(node, row, applied),
        transactions=_transactions(row),
        received=MariaDbPosition.parse(row["Gtid_IO_Pos"]),
        arriving=(row["Gtid_IO_Pos"], row["Read_Master_Log_Pos"]),
        lag_s=None if lag is None else float(lag),
        error=_error(row, applied),
    )


def _change_master(primary: Endpoint) -> tuple[str, tuple[Any, ...]]:
    sql = (
        "CHANGE MASTER TO MASTER_HOST=%s, MASTER_PORT=%s, MASTER_USER=%s, MASTER_PASSWORD=%s,"
        f" MASTER_CONNECT_RETRY={_CONNECT_RETRY_S}, MASTER_HEARTBEAT_PERIOD=5, MASTER_USE_GTID=slave_pos"
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


def _open_temp_tables(node: Conn) -> int:
    return int(rows(node, "SHOW GLOBAL STATUS LIKE 'Slave_open_temp_tables'")[0][1])


def _progress(node: Conn, row: Mapping[str, Any], applied: MariaDbPosition) -> tuple[Any, ...]:
    counters = rows(node, f"SHOW GLOBAL STATUS WHERE variable_name IN ({_COUNTERS})")
    positions = row["Exec_Master_Log_Pos"], row["Relay_Log_Pos"]
    return (str(applied), *positions, *(count for _, count in counters), *rows(node, _STAGES))


def _transactions(row: Mapping[str, Any]) -> int:
    names = ("Slave_DDL_Groups", "Slave_Non_Transactional_Groups", "Slave_Transactional_Groups")
    return sum(int(row.get(name) or 0) for name in names)


def _error(row: Mapping[str, Any], applied: MariaDbPosition) -> RestoreReplayError | None:
    number, text = int(row["Last_SQL_Errno"]), str(row["Last_SQL_Error"])
    if number and row["Slave_SQL_Running"] == "No":
        where = f"{row['Relay_Master_Log_File']}:{row['Exec_Master_Log_Pos']} after {applied or 'nothing'}"
        return classify.applier_error(number, text, where)
    number, text = int(row["Last_IO_Errno"]), str(row["Last_IO_Error"])
    if not number or row["Slave_IO_Running"] == "Yes":
        return None
    # A network error is transient: the thread retries by itself. If the connection was lost during the handshake, the
    # thread stops, and the job that watches it starts it again. Only an error that no retry can resolve is reported.
    if classify.passes(number, text):
        return None
    return classify.io_error(number, text)
