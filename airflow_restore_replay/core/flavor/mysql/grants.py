"""The least privileges of the protection account on a MySQL primary."""

from __future__ import annotations

import re

from airflow_restore_replay.core.flavor.quoting import literal
from airflow_restore_replay.core.flavor.sql import rows, value
from airflow_restore_replay.core.flavor.values import Conn

#: privilege → why the cycle cannot do without it
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
#: privilege → what is better with it; managed services do not give them
OPTIONAL: dict[str, str] = {
    "BACKUP_ADMIN": "CLONE; snapshots without any lock",
    "FLUSH_TABLES": "a snapshot's lock of milliseconds, where writing never pauses, instead of LOCK TABLES",
    "XA_RECOVER_ADMIN": "wait for prepared XA transactions before a logical seed",
}
PRIVILEGES = REQUIRED | OPTIONAL


def statements(user: str, host: str = "%", *, managed: bool = False) -> list[str]:
    """:param managed: only what managed services give.
    :returns: the exact GRANT statements for ``user@host``; the account must exist.
    """
    grants = [f"GRANT {', '.join(REQUIRED)} ON *.* TO {account(user, host)}"]
    # Static and dynamic privileges cannot be granted in one statement that names both kinds in older releases.
    return grants if managed else [*grants, f"GRANT {', '.join(OPTIONAL)} ON *.* TO {account(user, host)}"]


def account(user: str, host: str) -> str:
    """:returns: the account quoted for a statement."""
    return f"{literal(user)}@{literal(host)}"


def held(conn: Conn) -> set[str]:
    """:returns: the account's global privileges, those of its active roles included."""
    roles = str(value(conn, "SELECT CURRENT_ROLE()"))
    using = "" if roles == "NONE" else f" USING {roles}"
    return parse([line for (line,) in rows(conn, f"SHOW GRANTS FOR CURRENT_USER(){using}")])


def parse(grants: list[str]) -> set[str]:
    """:param grants: lines of ``SHOW GRANTS``.
    :returns: what is granted ``ON *.*``.
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
    """:returns: required privileges that are not in *granted*."""
    return [name for name in REQUIRED if name not in granted]
