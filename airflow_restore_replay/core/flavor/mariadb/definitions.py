"""Definitions of MariaDB: accounts and privileges, and those that all flavors have."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.account import AGENT
from airflow_restore_replay.core.flavor.definitions import COMMON, PRIVILEGES, Definitions, Source, read
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


def definitions(conn: Conn) -> Definitions:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.definitions`."""
    return read(conn, _SOURCES, lambda user: user in _RESERVED)
