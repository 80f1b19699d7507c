"""Control a node's replication, in the dialect of the node's release."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from airflow_restore_replay.core.errors import CatchUpStalled, RestoreReplayError
from airflow_restore_replay.core.flavor import memory_tables
from airflow_restore_replay.core.flavor.mysql import classify
from airflow_restore_replay.core.flavor.mysql.connect import connect, release
from airflow_restore_replay.core.flavor.mysql.dialect import dialect
from airflow_restore_replay.core.flavor.mysql.gtid import MySqlPosition, Source
from airflow_restore_replay.core.flavor.mysql.memory_filter import filtered_tables
from airflow_restore_replay.core.flavor.quoting import identifier
from airflow_restore_replay.core.flavor.sql import dicts, rows, run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position, ReplicationStatus

_CONNECT_RETRY_S = 2
# By default the I/O thread gives up after ten tries; the stall timeout of this package decides instead.
_RETRY_COUNT = 1_000_000
_TEMP_TABLE_TRIES = 20

# Tables that managed services write in the mysql schema for their own use.
_SERVICE = r"'mysql.rds\_%'"

# Counters that change while one long event is applied, when the positions do not.
_PROGRESS = (
    "'Innodb_rows_inserted','Innodb_rows_updated','Innodb_rows_deleted','Innodb_rows_read',"
    "'Innodb_data_written','Handler_update','Handler_delete','Key_write_requests'"
)


def executed_position(node: Conn) -> MySqlPosition:
    """Return the position that the node has executed."""
    return MySqlPosition.parse(str(value(node, "SELECT @@GLOBAL.gtid_executed")))


def set_executed(node: Conn, position: Position) -> None:
    """Set the node's executed position to *position*; replication must be stopped."""
    run(node, dialect(release(node)).reset_executed)
    run(node, "SET GLOBAL gtid_purged = %s", (str(position),))


def start_replication(node: Conn, primary: Endpoint, *, until: Position | None, appliers: int) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.start_replication`."""
    words = dialect(release(node))
    run(node, f"STOP {words.replica}")
    if until is not None and executed_position(node).contains(until):
        return
    run(node, f"SET GLOBAL {words.variable}_parallel_workers = %s", (max(appliers, 1),))
    ignored = ", ".join(
        f"{identifier(t.schema)}.{identifier(t.name)}" for t in filtered_tables(node, primary)
    )
    run(
        node,
        f"CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = ({ignored}), REPLICATE_WILD_IGNORE_TABLE = ({_SERVICE})",
    )
    if not ignored:
        memory_tables.set_aside(node)
    run(node, *words.change_source(primary, retry_s=_CONNECT_RETRY_S, retry_count=_RETRY_COUNT))
    # The credentials are passed to START, because CHANGE would write them to a table and to the redo log.
    stop_at = f"UNTIL SQL_BEFORE_GTIDS = '{_beyond(primary, until)}' " if until else ""
    run(node, f"START {words.replica} {stop_at}USER = %s PASSWORD = %s", (primary.user, primary.password))


def _beyond(primary: Endpoint, until: Position) -> MySqlPosition:
    """Return all possible transactions that are not in the goal; the applier stops before the first of them.

    With SQL_AFTER_GTIDS, replication waits forever if the connection is lost during the last transaction, because the
    applier takes the truncated transaction for the complete one (9.7, measured).
    """
    goal = MySqlPosition.parse(str(until))
    others: list[Source] = []
    # Include sources that the goal does not contain yet. If the primary does not answer, only the goal's sources count.
    with contextlib.suppress(RestoreReplayError), contextlib.closing(connect(primary)) as conn:
        others = [*MySqlPosition.parse(str(value(conn, "SELECT @@GLOBAL.gtid_executed"))).by_source]
    return goal.beyond(others)


def stop_replication(node: Conn) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.stop_replication`."""
    words = dialect(release(node))
    for attempt in range(_TEMP_TABLE_TRIES):
        run(node, f"STOP {words.replica} SQL_THREAD")
        if not _open_temp_tables(node, words.status):
            run(node, f"STOP {words.replica}")
            memory_tables.put_back(node)
            return
        if attempt + 1 < _TEMP_TABLE_TRIES:
            run(node, f"START {words.replica} SQL_THREAD")
            time.sleep(0.5)
    raise CatchUpStalled(
        f"The replication stream keeps {_open_temp_tables(node, words.status)} temporary tables open; a snapshot "
        "would lose them.",
        hint="Use binlog_format=ROW on the primary, or let the node replicate further and try again.",
    )


def forget_replication(node: Conn) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.forget_replication`."""
    words = dialect(release(node))
    run(node, f"STOP {words.replica}")
    run(node, f"RESET {words.replica} ALL")
    run(node, "CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = (), REPLICATE_WILD_IGNORE_TABLE = ()")
    memory_tables.put_back(node)


def replication_status(node: Conn) -> ReplicationStatus:
    """Return one reading of the node's replication."""
    applied = executed_position(
        node
    )  # read first, so that the counters read after it cover at least these transactions
    found = dicts(node, f"SHOW {dialect(release(node)).replica} STATUS")
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
    row = _in_new_words(found[0])
    lag = row.get("Seconds_Behind_Source")
    received = MySqlPosition.parse(str(row["Retrieved_Gtid_Set"]))
    return ReplicationStatus(
        applied=applied,
        io_running=row["Replica_IO_Running"] == "Yes",
        io_connecting=row["Replica_IO_Running"] == "Connecting",
        applier_running=row["Replica_SQL_Running"] == "Yes",
        progress=_progress(node, row, applied),
        transactions=received.common(applied).count,
        received=MySqlPosition.parse(f"{applied},{received}"),
        arriving=(str(received), row["Read_Source_Log_Pos"]),
        lag_s=None if lag is None else float(lag),
        error=_error(node, row, applied),
    )


def _in_new_words(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("Slave_", "Replica_").replace("Master", "Source"): v for name, v in row.items()}


def _open_temp_tables(node: Conn, prefix: str) -> int:
    found = rows(node, f"SHOW GLOBAL STATUS LIKE '{prefix}_open_temp_tables'")
    return int(found[0][1]) if found else 0


def _progress(node: Conn, row: Mapping[str, Any], applied: MySqlPosition) -> tuple[Any, ...]:
    counters = rows(node, f"SHOW GLOBAL STATUS WHERE variable_name IN ({_PROGRESS})")
    positions = row["Exec_Source_Log_Pos"], row["Relay_Log_Pos"]
    return (str(applied), *positions, *(count for _, count in counters))


def _error(node: Conn, row: Mapping[str, Any], applied: MySqlPosition) -> RestoreReplayError | None:
    number, text = int(row["Last_SQL_Errno"]), str(row["Last_SQL_Error"])
    if number and row["Replica_SQL_Running"] == "No":
        where = (
            f"{row['Relay_Source_Log_File']}:{row['Exec_Source_Log_Pos']} after {str(applied) or 'nothing'}"
        )
        error = classify.applier_error(*_workers_words(node, number, text), where)
        return memory_tables.cause_of(error, node)
    number, text = int(row["Last_IO_Errno"]), str(row["Last_IO_Error"])
    if not number or row["Replica_IO_Running"] == "Yes":
        return None
    # A network error is transient: the thread retries by itself. If the connection was lost during the handshake, the
    # thread stops, and the job that watches it starts it again. Only an error that no retry can resolve is reported.
    if classify.passes(number, text):
        return None
    return classify.io_error(number, text)


def _workers_words(node: Conn, number: int, text: str) -> tuple[int, str]:
    """Return number and text of the worker's error, because the coordinator only reports that a worker failed."""
    found = rows(
        node,
        "SELECT LAST_ERROR_NUMBER, LAST_ERROR_MESSAGE FROM performance_schema.replication_applier_status_by_worker"
        " WHERE LAST_ERROR_NUMBER <> 0 ORDER BY LAST_ERROR_TIMESTAMP LIMIT 1",
    )
    return (int(found[0][0]), str(found[0][1])) if found else (number, text)
