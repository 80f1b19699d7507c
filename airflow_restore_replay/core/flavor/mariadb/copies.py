"""Restored copies that people use: as a replica, as a primary, or with a few tables only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pymysql

from airflow_restore_replay.core.flavor.filenames import table_of
from airflow_restore_replay.core.flavor.mariadb.replication import change_master, forget_replication
from airflow_restore_replay.core.flavor.quoting import qualified
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position


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
