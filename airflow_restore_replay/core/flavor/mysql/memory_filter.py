"""MEMORY tables that a node can only ignore by a replication filter."""

from __future__ import annotations

import contextlib
from typing import Any

from airflow_restore_replay.core.errors import NotReplayable, PrimaryUnreachable, ReplicationDenied
from airflow_restore_replay.core.flavor.mysql.connect import connect
from airflow_restore_replay.core.flavor.mysql.tables import memory_tables
from airflow_restore_replay.core.flavor.sql import rows, value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Table

_DEFINITION = (
    "SELECT 'table', TABLE_NAME, ENGINE, '', '' FROM information_schema.TABLES"
    " WHERE (TABLE_SCHEMA, TABLE_NAME) = (%s, %s)"
    " UNION ALL SELECT 'column', COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT"
    " FROM information_schema.COLUMNS WHERE (TABLE_SCHEMA, TABLE_NAME) = (%s, %s)"
    " UNION ALL SELECT 'index', INDEX_NAME, COLUMN_NAME, SEQ_IN_INDEX, NON_UNIQUE"
    " FROM information_schema.STATISTICS WHERE (TABLE_SCHEMA, TABLE_NAME) = (%s, %s)"
)


def filtered_tables(node: Conn, primary: Endpoint) -> list[Table]:
    """Return the node's MEMORY tables if they must be filtered because they cannot be set aside.

    With binlog_rows_query_log_events the primary logs statements before their row events, and BLACKHOLE then does not
    accept the row events (9.7, measured).

    :raises NotReplayable: the primary changed such a table; the filter would ignore that, too.
    """
    found = memory_tables(node)
    if not found:
        return []
    # Without an answer replication only waits; it is started again later.
    with (
        contextlib.suppress(PrimaryUnreachable, ReplicationDenied),
        contextlib.closing(connect(primary)) as conn,
    ):
        if value(conn, "SELECT @@GLOBAL.binlog_rows_query_log_events"):
            changed = [t.qualified for t in found if _definition(conn, t) != _definition(node, t)]
            if changed:
                raise NotReplayable(
                    f"The primary changed the MEMORY tables {', '.join(changed[:20])}. With "
                    "binlog_rows_query_log_events a node must ignore these tables, and so would not replay the change.",
                    hint="Without binlog_rows_query_log_events no fresh full is needed for that.",
                    evidence={"tables": changed[:20]},
                )
            return found
    return []


def _definition(conn: Conn, table: Table) -> set[tuple[Any, ...]]:
    return set(rows(conn, _DEFINITION, (table.schema, table.name) * 3))
