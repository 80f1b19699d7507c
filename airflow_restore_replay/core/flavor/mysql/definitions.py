"""Definitions of MySQL: accounts and privileges, and those that all flavors have."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.account import AGENT
from airflow_restore_replay.core.flavor.definitions import COMMON, PRIVILEGES, Definitions, Source, read
from airflow_restore_replay.core.flavor.mysql import accounts
from airflow_restore_replay.core.flavor.values import Conn

_ACCOUNTS = (
    Source("account", "mysql.user", ("User", "Host"), ignored=("password_last_changed",)),
    Source("dynamic privilege", "mysql.global_grants", ("USER", "HOST", "PRIV")),
    *PRIVILEGES,
    Source("role", "mysql.role_edges", ("FROM_USER", "FROM_HOST", "TO_USER", "TO_HOST")),
    Source("default role", "mysql.default_roles", ("USER", "HOST", "DEFAULT_ROLE_USER", "DEFAULT_ROLE_HOST")),
)


def definitions(conn: Conn) -> Definitions:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.definitions`.

    A managed service has accounts and privileges of its own, which no node can have.
    """
    if accounts.is_managed(conn):
        found = read(conn, COMMON, lambda user: False)
        found.hidden |= {f"every {s.kind}": "a managed service changes accounts by itself" for s in _ACCOUNTS}
        return found
    reserved = accounts.RESERVED | {AGENT}
    return read(conn, (*COMMON, *_ACCOUNTS), lambda user: user in reserved)
