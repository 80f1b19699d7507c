"""The minimal privileges of this package's account on a MariaDB primary."""

from __future__ import annotations

import re

from airflow_restore_replay.core.flavor.quoting import literal

#: privilege → why the cycle needs it; the contract tests seed, replicate and compare with exactly these
PRIVILEGES: dict[str, str] = {
    "SELECT": "dump and compare tables, read routines and accounts",
    "RELOAD": "mariadb-backup's BACKUP STAGE; block writes to tables without snapshots during a logical seed, but"
    " no reads; a new binary log file for a dump behind a very large event",
    "PROCESS": "see which tablespaces lie outside the data directory; mariadb-backup",
    "LOCK TABLES": "the same, where RELOAD is not available",
    "SHOW VIEW": "dump views",
    "EVENT": "dump events and record their states",
    "TRIGGER": "dump triggers",
    "REPLICATION SLAVE": "read the binary log",
    "BINLOG MONITOR": "read the primary's position and list its binary logs",
}

#: privileges that only mariadb-backup requires
PHYSICAL_ONLY = ("RELOAD",)


def statements(user: str, host: str = "%", *, physical: bool = True) -> list[str]:
    """Return the exact GRANT statements for ``user@host``; the account must exist.

    :param physical: whether the account also runs mariadb-backup.
    """
    names = [name for name in PRIVILEGES if physical or name not in PHYSICAL_ONLY]
    return [f"GRANT {', '.join(names)} ON *.* TO {account(user, host)}"]


def account(user: str, host: str) -> str:
    """Return the account quoted for a statement."""
    return f"{literal(user)}@{literal(host)}"


def missing(grants: list[str], *, physical: bool = False) -> list[str]:
    """Return the privileges of :data:`PRIVILEGES` that *grants* do not grant ``ON *.*``.

    :param grants: lines of ``SHOW GRANTS``.
    :param physical: whether mariadb-backup runs under the account.
    """
    held: set[str] = set()
    for line in grants:
        match = re.match(r"GRANT (.+?) ON \*\.\* TO ", line, re.IGNORECASE)
        if match:
            held.update(part.strip().upper() for part in match[1].split(","))
    if "ALL PRIVILEGES" in held:
        return []
    aliases = {"REPLICATION CLIENT": "BINLOG MONITOR", "REPLICATION REPLICA": "REPLICATION SLAVE"}
    held |= {aliases[name] for name in held if name in aliases}
    return [name for name in PRIVILEGES if name not in held and (physical or name not in PHYSICAL_ONLY)]
