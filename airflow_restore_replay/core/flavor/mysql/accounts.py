"""Accounts as statements, to copy them between servers whose account tables differ."""

from __future__ import annotations

import pymysql

from airflow_restore_replay.core.flavor.grants import account
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn

#: the server's own accounts, and those through which managed services administer it
RESERVED = frozenset({"mysql.sys", "mysql.session", "mysql.infoschema", "rdsadmin", "rdsrepladmin"})
_NAMES_SHOWN = 20


def is_managed(primary: Conn) -> bool:
    """Return whether a managed service runs the server; its schema ``mysql`` differs from a plain server's then."""
    return bool(rows(primary, "SELECT 1 FROM mysql.user WHERE user = 'rdsadmin' LIMIT 1"))


def statements(primary: Conn) -> list[str]:
    """Return statements that create the primary's accounts with the hashes of their passwords and their privileges."""
    run(primary, "SET SESSION print_identified_with_as_hex = ON")
    made, granted = [], []
    for user, host in rows(primary, "SELECT user, host FROM mysql.user ORDER BY user, host"):
        if user in RESERVED:
            continue
        who = account(user, host)
        created = str(rows(primary, f"SHOW CREATE USER {who}")[0][0])
        made.append(created.replace("CREATE USER", "CREATE USER IF NOT EXISTS", 1))
        granted += [str(line) for (line,) in rows(primary, f"SHOW GRANTS FOR {who}")]
    return made + granted


def apply(node: Conn, wanted: list[str]) -> dict[str, str]:
    """Run *wanted*, and retry a statement that depends on another one (a default role) after that.

    :returns: statement, without the part that may be secret → why the node refuses it.
    """
    while True:
        failed = {statement: why for statement in wanted if (why := _try(node, statement))}
        if len(failed) in (0, len(wanted)):
            named = list(failed.items())[:_NAMES_SHOWN]
            return {statement.partition(" IDENTIFIED")[0][:200]: why for statement, why in named}
        wanted = list(failed)


def _try(node: Conn, statement: str) -> str:
    try:
        run(node, statement)
    except pymysql.err.MySQLError as exc:
        return str(exc.args[1] if len(exc.args) > 1 else exc)
    return ""
