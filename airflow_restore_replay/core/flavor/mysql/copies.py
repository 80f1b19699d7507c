"""Restored copies that people use: as a replica, as a primary, or with a few tables only."""

from __future__ import annotations

from collections.abc import Callable

from airflow_restore_replay.core.flavor import replication
from airflow_restore_replay.core.flavor.mysql.connect import release
from airflow_restore_replay.core.flavor.mysql.dialect import dialect
from airflow_restore_replay.core.flavor.mysql.replication import forget_replication
from airflow_restore_replay.core.flavor.quoting import identifier, qualified
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, run
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position

_RETRY_COUNT = 1_000_000


def become_replica(copy: Conn, source: Endpoint) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.become_replica`."""
    words = dialect(release(copy))
    sql, args = words.change_source(source, retry_s=replication.CONNECT_RETRY_S, retry_count=_RETRY_COUNT)
    option = words.change[1]
    run(copy, f"{sql}, {option}_USER = %s, {option}_PASSWORD = %s", (*args, source.user, source.password))
    run(copy, f"START {words.replica}")


def become_primary(copy: Conn, position: Position) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.become_primary`.

    The server keeps *position* in a table, and its binary log continues after it by itself.
    """
    forget_replication(copy)


def forget_absent(copy: Conn, wanted: Callable[[str, str], bool]) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.forget_absent`.

    The dictionary names every table of the backup. Using one without its files is error 1812, dropping it is none.
    """
    run(copy, "SET SESSION foreign_key_checks = 0, sql_log_bin = 0")
    kept = set()
    for schema, name, kind in _tables(copy):
        if wanted(schema, name):
            kept.add(schema)
        elif kind == "BASE TABLE":
            run(copy, f"DROP TABLE IF EXISTS {qualified(schema, name)}")
    for (schema,) in rows(
        copy, f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {SYSTEM_SCHEMAS}"
    ):
        if schema not in kept:
            run(copy, f"DROP DATABASE {identifier(schema)}")


def _tables(copy: Conn) -> list[tuple[str, str, str]]:
    return [
        (str(schema), str(name), str(kind))
        for schema, name, kind in rows(
            copy,
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS}",
        )
    ]
