"""Accounts as statements: what carries them between servers whose account tables are not alike."""

from __future__ import annotations

import pymysql

from airflow_restore_replay.core.flavor.mysql.grants import account
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn

#: the server's own accounts, and those by which managed services look after it
RESERVED = frozenset({"mysql.sys", "mysql.session", "mysql.infoschema", "rdsadmin", "rdsrepladmin"})
_NAMES_SHOWN = 20


def is_managed(primary: Conn) -> bool:
    """:returns: whether a cloud service looks after the server, whose ``mysql`` schema is not a plain one then."""
    return bool(rows(primary, "SELECT 1 FROM mysql.user WHERE user = 'rdsadmin' LIMIT 1"))


def statements(primary: Conn) -> list[str]:
    """:returns: statements that make the primary's accounts with their passwords' hashes and their privileges."""
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
    """Run *wanted*; what depends on another (a default role) is tried again after it.

    :returns: statement, without what might be secret → why the node does not take it.
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
