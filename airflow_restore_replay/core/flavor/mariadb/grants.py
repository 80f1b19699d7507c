"""The minimal privileges of this package's account on a MariaDB primary."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_restore_replay.core.flavor.grants import account, granted_everywhere
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn

#: privilege → why the cycle needs it; the contract tests seed, replicate and compare with exactly these
PRIVILEGES: dict[str, str] = {
    "SELECT": "dump and compare tables, read routines and accounts",
    "RELOAD": "mariadb-backup's BACKUP STAGE; block writes to tables without snapshots during a logical seed, but"
    " no reads; a new binary log file for a dump behind a very large event",
    "PROCESS": "see which tablespaces lie outside the data directory, and that the account sees all tables;"
    " mariadb-backup",
    "LOCK TABLES": "the same, where RELOAD is not available",
    "SHOW VIEW": "dump views",
    "EVENT": "dump events and record their states",
    "TRIGGER": "dump triggers",
    "REPLICATION SLAVE": "read the binary log",
    "BINLOG MONITOR": "read the primary's position and list its binary logs",
}

#: those without which the server does not list, or does not show, what exists
SEEING = ("SELECT", "SHOW VIEW", "EVENT", "TRIGGER")
#: privileges that only mariadb-backup requires
PHYSICAL_ONLY = ("RELOAD",)

#: other names of privileges in SHOW GRANTS
_ALIASES = {"REPLICATION CLIENT": "BINLOG MONITOR", "REPLICATION REPLICA": "REPLICATION SLAVE"}


def statements(user: str, host: str = "%", *, physical: bool = True) -> list[str]:
    """Return the exact GRANT statements for ``user@host``; the account must exist.

    :param physical: whether the account also runs mariadb-backup.
    """
    names = [name for name in PRIVILEGES if physical or name not in PHYSICAL_ONLY]
    return [f"GRANT {', '.join(names)} ON *.* TO {account(user, host)}"]


def held(conn: Conn) -> set[str]:
    """Return the privileges that the account has ``ON *.*``."""
    return parse(str(line) for (line,) in rows(conn, "SHOW GRANTS"))


def parse(lines: Iterable[str]) -> set[str]:
    """Return the privileges that *lines* of ``SHOW GRANTS`` grant ``ON *.*``, by the names of :data:`PRIVILEGES`."""
    found = granted_everywhere(lines)
    return found | (
        PRIVILEGES.keys() if "ALL PRIVILEGES" in found else {_ALIASES.get(name, name) for name in found}
    )
