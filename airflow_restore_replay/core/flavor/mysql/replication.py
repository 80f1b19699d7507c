"""Control a node's replication, in the dialect of the node's release."""

from __future__ import annotations

import contextlib
from functools import partial

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor import memory_tables, replication
from airflow_restore_replay.core.flavor.mysql import classify
from airflow_restore_replay.core.flavor.mysql.connect import connect, release
from airflow_restore_replay.core.flavor.mysql.dialect import dialect
from airflow_restore_replay.core.flavor.mysql.gtid import MySqlPosition, Source
from airflow_restore_replay.core.flavor.mysql.memory_filter import filtered_tables
from airflow_restore_replay.core.flavor.quoting import qualified
from airflow_restore_replay.core.flavor.sql import dicts, rows, run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position, ReplicationStatus

# By default the I/O thread gives up after ten tries; the stall timeout of this package decides instead.
_RETRY_COUNT = 1_000_000

# Tables that managed services write in the mysql schema for their own use, and statistics, which each server gathers
# without the binary log.
_OWN = r"'mysql.rds\_%', 'mysql.innodb\_%\_stats'"

# Counters that change while one long event is applied, when the positions do not.
_COUNTERS = (
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
    ignored = ", ".join(qualified(t.schema, t.name) for t in filtered_tables(node, primary))
    run(
        node,
        f"CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = ({ignored}), REPLICATE_WILD_IGNORE_TABLE = ({_OWN})",
    )
    if not ignored:
        memory_tables.set_aside(node)
    run(node, *words.change_source(primary, retry_s=replication.CONNECT_RETRY_S, retry_count=_RETRY_COUNT))
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
    replication.stop_replication(node, replica=words.replica, status=words.status)
    memory_tables.put_back(node)


def forget_replication(node: Conn) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.forget_replication`."""
    words = dialect(release(node))
    run(node, f"STOP {words.replica}")
    run(node, f"RESET {words.replica} ALL")
    run(node, "CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = (), REPLICATE_WILD_IGNORE_TABLE = ()")
    memory_tables.put_back(node)


@replication.understood
def replication_status(node: Conn) -> ReplicationStatus:
    """Return one reading of the node's replication."""
    # Read first, so that the counters read after it cover at least these transactions.
    applied = executed_position(node)
    found = dicts(node, f"SHOW {dialect(release(node)).replica} STATUS")
    if not found:
        return replication.unconfigured(applied)
    row = replication.in_new_words(found[0])
    received = MySqlPosition.parse(str(row["Retrieved_Gtid_Set"]))
    return replication.status_of(
        row,
        applied=applied,
        received=MySqlPosition.parse(f"{applied},{received}"),
        arriving=str(received),
        progress=replication.counters(node, _COUNTERS),
        transactions=received.common(applied).count,
        error=replication.error_of(node, row, applied, classify.RULES, partial(_workers_words, node)),
    )


def _workers_words(node: Conn, number: int, text: str) -> tuple[int, str]:
    """Return number and text of the worker's error, because the coordinator only reports that a worker failed."""
    found = rows(
        node,
        "SELECT LAST_ERROR_NUMBER, LAST_ERROR_MESSAGE FROM performance_schema.replication_applier_status_by_worker"
        " WHERE LAST_ERROR_NUMBER <> 0 ORDER BY LAST_ERROR_TIMESTAMP LIMIT 1",
    )
    return (int(found[0][0]), str(found[0][1])) if found else (number, text)
