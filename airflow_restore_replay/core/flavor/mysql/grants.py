"""The minimal privileges of this package's account on a MySQL primary."""

from __future__ import annotations

import re

from airflow_restore_replay.core.flavor.quoting import literal
from airflow_restore_replay.core.flavor.sql import rows, value
from airflow_restore_replay.core.flavor.values import Conn

#: privilege → why the cycle needs it
REQUIRED: dict[str, str] = {
    "SELECT": "dump and compare tables, read routines and accounts",
    "PROCESS": "see which tablespaces lie outside the data directory or are encrypted",
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


def statements(user: str, host: str = "%", *, managed: bool = False) -> list[str]:
    """Return the exact GRANT statements for ``user@host``; the account must exist.

    :param managed: only the privileges that managed services grant.
    """
    grants = [f"GRANT {', '.join(REQUIRED)} ON *.* TO {account(user, host)}"]
    # Older releases cannot grant static and dynamic privileges in one statement.
    return grants if managed else [*grants, f"GRANT {', '.join(OPTIONAL)} ON *.* TO {account(user, host)}"]


def account(user: str, host: str) -> str:
    """Return the account quoted for a statement."""
    return f"{literal(user)}@{literal(host)}"


def held(conn: Conn) -> set[str]:
    """Return the account's global privileges, including those of its active roles."""
    roles = str(value(conn, "SELECT CURRENT_ROLE()"))
    using = "" if roles == "NONE" else f" USING {roles}"
    return parse([line for (line,) in rows(conn, f"SHOW GRANTS FOR CURRENT_USER(){using}")])


def parse(grants: list[str]) -> set[str]:
    """Return the privileges that are granted ``ON *.*``.

    :param grants: lines of ``SHOW GRANTS``.
    """
    found: set[str] = set()
    for line in grants:
        match = re.match(r"GRANT (.+?) ON \*\.\* TO ", line, re.IGNORECASE)
        if match:
            found.update(part.strip().upper() for part in match[1].split(","))
    if "ALL PRIVILEGES" in found:
        found |= PRIVILEGES.keys()
    if "RELOAD" in found:
        found.add("FLUSH_TABLES")
    return found


def missing(granted: set[str]) -> list[str]:
    """Return the required privileges that are not in *granted*."""
    return [name for name in REQUIRED if name not in granted]
