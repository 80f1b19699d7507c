"""Definitions of MySQL: accounts, privileges, what the binary log does not have, and those that all flavors have."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.account import AGENT
from airflow_restore_replay.core.flavor.definitions import COMMON, PRIVILEGES, Definitions, Source, read
from airflow_restore_replay.core.flavor.mysql import accounts
from airflow_restore_replay.core.flavor.mysql.connect import release
from airflow_restore_replay.core.flavor.mysql.extras import (
    GROUPS,
    OWN_GROUPS,
    PLUGINS,
    READ_ONLY,
    has_read_only,
)
from airflow_restore_replay.core.flavor.sql import value
from airflow_restore_replay.core.flavor.structure import FOREIGN_KEYS, Part, columns, keys, of_tables
from airflow_restore_replay.core.flavor.values import Conn

_ACCOUNTS = (
    Source("account", "mysql.user", ("User", "Host"), ignored=("password_last_changed",)),
    Source("dynamic privilege", "mysql.global_grants", ("USER", "HOST", "PRIV")),
    *PRIVILEGES,
    Source("role", "mysql.role_edges", ("FROM_USER", "FROM_HOST", "TO_USER", "TO_HOST")),
    Source("default role", "mysql.default_roles", ("USER", "HOST", "DEFAULT_ROLE_USER", "DEFAULT_ROLE_HOST")),
)
#: The binary log has no statement about these. A schema's READ ONLY is logged, and no seed carries it.
_UNLOGGED = (
    Source("server", "mysql.servers", ("Server_name",)),
    Source("plugin", "mysql.plugin", ("name",), where=PLUGINS),
    Source(
        "component", "mysql.component", ("component_urn",), ignored=("component_id", "component_group_id")
    ),
)
_GROUPS = Source("resource group", GROUPS, ("RESOURCE_GROUP_NAME",), where=OWN_GROUPS)
_READ_ONLY = Source(
    "READ ONLY of schema", "information_schema.SCHEMATA_EXTENSIONS", ("SCHEMA_NAME",), where=READ_ONLY
)

_CHECKS = Part(
    "check",
    of_tables(
        "t.TABLE_SCHEMA, t.TABLE_NAME, t.CONSTRAINT_NAME, t.ENFORCED, c.CHECK_CLAUSE, ''",
        "information_schema.TABLE_CONSTRAINTS t JOIN information_schema.CHECK_CONSTRAINTS c"
        " ON c.CONSTRAINT_SCHEMA = t.CONSTRAINT_SCHEMA AND c.CONSTRAINT_NAME = t.CONSTRAINT_NAME",
        schema="t.TABLE_SCHEMA",
        where="t.CONSTRAINT_TYPE = 'CHECK'",
    ),
)
#: the first release with check constraints; keys of expressions are older
_CONSTRAINTS = (8, 0, 16)


def _parts(conn: Conn) -> tuple[Part, ...]:
    if release(conn) < _CONSTRAINTS:
        return (columns(", SRS_ID"), keys(", IS_VISIBLE"), *FOREIGN_KEYS)
    return (columns(", SRS_ID"), keys(", IS_VISIBLE, EXPRESSION"), _CHECKS, *FOREIGN_KEYS)


def definitions(conn: Conn) -> Definitions:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.definitions`.

    A managed service has accounts and privileges of its own, which no node can have.
    """
    if accounts.is_managed(conn):
        found = read(conn, COMMON, _parts(conn), lambda user: False)
        found.hidden |= {f"every {s.kind}": "a managed service changes accounts by itself" for s in _ACCOUNTS}
        return found
    reserved = accounts.RESERVED | {AGENT}
    sources = [*COMMON, *_ACCOUNTS, *_UNLOGGED]
    if has_read_only(conn):
        sources.append(_READ_ONLY)
    # Who may see no group is shown none, not even the server's own.
    if value(conn, f"SELECT COUNT(*) FROM {GROUPS}"):
        sources.append(_GROUPS)
    return read(conn, sources, _parts(conn), lambda user: user in reserved)
