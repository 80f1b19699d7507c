"""The minimal privileges of this package's account on a MySQL primary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_restore_replay.core.flavor.grants import account, granted_everywhere, revoked_in_schemas
from airflow_restore_replay.core.flavor.sql import rows, value
from airflow_restore_replay.core.flavor.values import Conn

#: privilege → why the cycle needs it
REQUIRED: dict[str, str] = {
    "SELECT": "dump and compare tables, read routines and accounts",
    "PROCESS": "see which tablespaces lie outside the data directory or are encrypted, and that the account sees all"
    " tables",
    "LOCK TABLES": "hold tables still while a snapshot is opened, if it can be had in no other way",
    "SHOW VIEW": "dump views",
    "EVENT": "dump events and record their states",
    "TRIGGER": "dump triggers",
    "REPLICATION SLAVE": "read the binary log",
    "REPLICATION CLIENT": "read the primary's position and list its binary logs",
}
#: privilege → what it improves; managed services do not grant these
OPTIONAL: dict[str, str] = {
    "BACKUP_ADMIN": "CLONE; snapshots without any lock",
    "FLUSH_TABLES": "a snapshot's lock of milliseconds, where writing never pauses, instead of LOCK TABLES",
    "XA_RECOVER_ADMIN": "wait for prepared XA transactions before a logical seed",
}
PRIVILEGES = REQUIRED | OPTIONAL
#: those without which the server does not list, or does not show, what exists
SEEING = ("SELECT", "SHOW VIEW", "EVENT", "TRIGGER")
_ALL = "ALL PRIVILEGES"
#: those that a partial revoke can take for one schema
_OF_SCHEMAS = {*SEEING, "LOCK TABLES"}


def statements(user: str, host: str = "%", *, managed: bool = False) -> list[str]:
    """Return the exact GRANT statements for ``user@host``; the account must exist.

    :param managed: only the privileges that managed services grant.
    """
    grants = [f"GRANT {', '.join(REQUIRED)} ON *.* TO {account(user, host)}"]
    # Older releases cannot grant static and dynamic privileges in one statement.
    return grants if managed else [*grants, f"GRANT {', '.join(OPTIONAL)} ON *.* TO {account(user, host)}"]


def held(conn: Conn) -> set[str]:
    """Return the account's global privileges, including those of its active roles."""
    return parse(_lines(conn))


def withheld(conn: Conn) -> Mapping[str, set[str]]:
    """Return schema → privileges that the account needs there, and that a partial revoke takes from it."""
    revoked = revoked_in_schemas(_lines(conn))
    lacking = {s: _OF_SCHEMAS & (_OF_SCHEMAS if _ALL in names else names) for s, names in revoked.items()}
    return {schema: names for schema, names in sorted(lacking.items()) if names}


def _lines(conn: Conn) -> list[str]:
    """Return the lines of SHOW GRANTS, in which the privileges of active roles are merged with the account's own."""
    roles = str(value(conn, "SELECT CURRENT_ROLE()"))
    using = "" if roles == "NONE" else f" USING {roles}"
    return [str(line) for (line,) in rows(conn, f"SHOW GRANTS FOR CURRENT_USER(){using}")]


def parse(lines: Iterable[str]) -> set[str]:
    """Return the privileges that *lines* of ``SHOW GRANTS`` grant ``ON *.*``, and those that they include."""
    found = granted_everywhere(lines)
    if _ALL in found:
        found |= PRIVILEGES.keys()
    if "RELOAD" in found:
        found.add("FLUSH_TABLES")
    return found
