"""Connections and query helpers, common to all flavors."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, NoReturn

from pymysql.cursors import DictCursor

from airflow_restore_replay.core.errors import AnswerUnreadable
from airflow_restore_replay.core.flavor.safe_connection import SafeConnection
from airflow_restore_replay.core.flavor.session import SESSION
from airflow_restore_replay.core.flavor.values import Conn, Endpoint

#: schemas of the server itself, as an SQL list
SYSTEM_SCHEMAS = "('mysql', 'information_schema', 'performance_schema', 'sys')"
#: numbers of a server's errors that say that it cannot read its own data
CORRUPT_NUMBERS = frozenset(
    {126, 127, 134, 144, 145, 1033, 1034, 1035, 1194, 1195, 1296, 1712, 1728, 1877, 1932, 3501}
)
#: the connection was lost, or the server is shutting down
LOST_NUMBERS = frozenset({0, 1053, 1927, 2002, 2003, 2006, 2013})
CONNECT_TIMEOUT_S = 10
# During a comparison or an ALTER, the server may send no packet for a long time.
READ_TIMEOUT_S = 6 * 3600


def open_connection(
    endpoint: Endpoint, context: ssl.SSLContext | None, *, read_timeout_s: int = READ_TIMEOUT_S
) -> Conn:
    """Return an autocommit connection in UTC.

    :raises OSError, MySQLError: the driver's own errors; also if *endpoint* names a CA or a
        certificate and the server offers no TLS, and if the server asks for the password in a readable form.
    """
    asking = [f"{name} {path}" for name in ("ssl_ca", "ssl_cert") if (path := getattr(endpoint, name))]
    return SafeConnection(
        tls_asked_by=" and ".join(asking),
        host=endpoint.host,
        port=endpoint.port,
        unix_socket=endpoint.socket,
        user=endpoint.user,
        password=endpoint.password,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        write_timeout=read_timeout_s,
        init_command=SESSION,
        ssl=context,
    )


def rows(conn: Conn, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Return all rows of *sql*."""
    with conn.cursor() as cursor:
        cursor.execute(sql, args or None)
        return list(cursor.fetchall())


class Answer(dict[str, Any]):
    """What a server answered, by name; that a name is missing is an error of the package."""

    def __missing__(self, name: str) -> NoReturn:
        raise AnswerUnreadable(f"The server's answer has no {name}; it has: {', '.join(self) or 'nothing'}.")


class _AnswerCursor(DictCursor):
    dict_type = Answer


def dicts(conn: Conn, sql: str) -> list[dict[str, Any]]:
    """Return all rows of *sql*, each by column name, as an :class:`Answer`."""
    with conn.cursor(_AnswerCursor) as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def value(conn: Conn, sql: str) -> Any:
    """Return the first column of the first row, or None if there is no row."""
    found = rows(conn, sql)
    return found[0][0] if found else None


def run(conn: Conn, sql: str, args: Sequence[Any] = ()) -> None:
    """Execute *sql* and discard its result."""
    rows(conn, sql, args)


def status(conn: Conn, pattern: str) -> dict[str, str]:
    """Return the global status variables that match the LIKE *pattern*, by lower-case name."""
    return Answer((name.lower(), text) for name, text in rows(conn, "SHOW GLOBAL STATUS LIKE %s", (pattern,)))
