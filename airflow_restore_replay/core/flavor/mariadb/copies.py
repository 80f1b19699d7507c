"""Restored copies that people use: as a replica, as a primary, or with a few tables only."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pymysql

from airflow_restore_replay.core.flavor.filenames import table_of
from airflow_restore_replay.core.flavor.mariadb.replication import change_master, forget_replication
from airflow_restore_replay.core.flavor.quoting import literal, qualified
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position

_PURGE_S = 30.0


def become_replica(copy: Conn, source: Endpoint) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.become_replica`."""
    run(copy, *change_master(source))
    run(copy, "START SLAVE")


def become_primary(copy: Conn, position: Position) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.become_primary`.

    The binary log continues the numbers of *position*, so that replicas of the lost primary find their place.
    """
    forget_replication(copy)
    run(copy, "SET GLOBAL gtid_slave_pos = ''")
    run(copy, "RESET MASTER")
    run(copy, "SET GLOBAL gtid_binlog_state = %s", (str(position),))
    # The heading of the first file lists nothing, as if the transactions of *position* were in it.
    run(copy, "FLUSH BINARY LOGS")
    deadline = time.monotonic() + _PURGE_S
    # A file stays until the server has noted that nothing in it needs recovery.
    while len(logs := rows(copy, "SHOW BINARY LOGS")) > 1 and time.monotonic() < deadline:
        run(copy, f"PURGE BINARY LOGS TO {literal(str(logs[-1][0]))}")


def forget_absent(copy: Conn, wanted: Callable[[str, str], bool]) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.forget_absent`.

    The server itself knows tables by their files. InnoDB's own dictionary still has the others, and their names could
    not be used again.
    """
    run(copy, "SET SESSION foreign_key_checks = 0, sql_log_bin = 0")
    for (name,) in rows(copy, "SELECT NAME FROM information_schema.INNODB_SYS_TABLES WHERE SPACE <> 0"):
        found = table_of(f"{name}.ibd")
        if found and found.name and not wanted(found.schema, found.name):
            # A partitioned table is not found by its name, and its partitions stay in InnoDB's dictionary.
            with contextlib.suppress(pymysql.err.MySQLError):
                run(copy, f"DROP TABLE IF EXISTS {qualified(found.schema, found.name)}")
