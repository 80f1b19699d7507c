"""Definitions of MariaDB: accounts and privileges, and those that all flavors have."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.account import AGENT
from airflow_restore_replay.core.flavor.definitions import COMMON, PRIVILEGES, Definitions, Source, read
from airflow_restore_replay.core.flavor.mariadb.identity import series_of
from airflow_restore_replay.core.flavor.sql import value
from airflow_restore_replay.core.flavor.structure import FOREIGN_KEYS, Part, columns, keys, of_tables
from airflow_restore_replay.core.flavor.values import Conn

#: authentication and global privileges without fields that a server sets by itself; password hashes in their own column
_ACCOUNTS = (
    "(SELECT Host, User, JSON_REMOVE(Priv, '$.password_last_changed', '$.version_id', '$.authentication_string',"
    " '$.auth_or') AS Priv, CONCAT(COALESCE(JSON_VALUE(Priv, '$.authentication_string'), ''),"
    " COALESCE(JSON_QUERY(Priv, '$.auth_or'), '')) AS authentication_string FROM mysql.global_priv) accounts"
)
_SOURCES = (
    *COMMON,
    Source("account", _ACCOUNTS, ("User", "Host")),
    *PRIVILEGES,
    Source("role", "mysql.roles_mapping", ("User", "Host", "Role")),
)
_RESERVED = frozenset({AGENT, "mariadb.sys"})
_CHECKS = Part(
    "check",
    of_tables(
        "CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, LEVEL, CHECK_CLAUSE, ''",
        "information_schema.CHECK_CONSTRAINTS",
        schema="CONSTRAINT_SCHEMA",
    ),
)
#: the first release with indexes that the optimizer ignores
_IGNORED = (10, 6)


def definitions(conn: Conn) -> Definitions:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.definitions`."""
    has_ignored = series_of(str(value(conn, "SELECT VERSION()"))) >= _IGNORED
    parts = (columns(), keys(", IGNORED" if has_ignored else ", 'NO'"), _CHECKS, *FOREIGN_KEYS)
    return read(conn, _SOURCES, parts, lambda user: user in _RESERVED)
