"""Exact positions of a primary's snapshots, without locks."""

from __future__ import annotations

from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.mariadb import binlog
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition
from airflow_restore_replay.core.flavor.sql import rows, run, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Snapshot

# A session that waits longer than this for a metadata lock is assumed to wait for the snapshot.
_PATIENCE_MS = 300


def primary_position(primary: Conn) -> MariaDbPosition:
    """Return the position of everything in the primary's binary log."""
    return MariaDbPosition.parse(str(value(primary, "SELECT @@GLOBAL.gtid_binlog_pos")))


def release_metadata_locks(conn: Conn) -> bool:
    """Return False if a session waits for a metadata lock, because only the end of the snapshot may release that.

    Rolling back to a savepoint releases no metadata lock of a transaction that could be written to the binary log
    (10.11, measured).
    """
    return not value(
        conn,
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
        f" WHERE STATE = 'Waiting for table metadata lock' AND TIME_MS > {_PATIENCE_MS}",
    )


def open_snapshot(primary: Endpoint, conn: Conn) -> Snapshot:
    """Begin a consistent snapshot on *conn*; it lasts until the connection's transaction ends.

    Source: MariaDB documentation, "Enhancements for START TRANSACTION WITH CONSISTENT SNAPSHOT" and
    "BINLOG_GTID_POS".
    """
    run(conn, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    run(conn, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    found = dict(rows(conn, "SHOW STATUS LIKE 'binlog_snapshot_%'"))
    names = {name.lower(): text for name, text in found.items()}
    file, offset = names.get("binlog_snapshot_file", ""), names.get("binlog_snapshot_position", "")
    if not file:
        raise PreflightFailed("The primary writes no binary log.", hint="Set log_bin and restart it.")
    text = rows(conn, "SELECT BINLOG_GTID_POS(%s, %s)", (file, int(offset)))[0][0]
    if text is None:
        position = binlog.position_at(primary, conn, file, int(offset))
    else:
        position = MariaDbPosition.parse(str(text))
    return Snapshot(position, "binlog_snapshot_position")
