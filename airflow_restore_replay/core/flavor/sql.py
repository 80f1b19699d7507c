"""Connections, and small helpers to query through them, whichever the server is."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from airflow_restore_replay.core.flavor.values import Conn, Endpoint

#: schemas of the server itself, as an SQL list
SYSTEM_SCHEMAS = "('mysql', 'information_schema', 'performance_schema', 'sys')"
#: a server's numbers for data of its own that it cannot read
CORRUPT_NUMBERS = frozenset(
    {126, 127, 134, 144, 145, 1033, 1034, 1035, 1194, 1195, 1296, 1712, 1728, 1877, 1932, 3501}
)
#: the connection is gone, or the server is going
LOST_NUMBERS = frozenset({0, 1053, 1927, 2002, 2003, 2006, 2013})
CONNECT_TIMEOUT_S = 10
# A comparison or an ALTER may keep the server busy for long between two packets.
READ_TIMEOUT_S = 6 * 3600


def open_connection(
    endpoint: Endpoint, context: ssl.SSLContext | None, *, read_timeout_s: int = READ_TIMEOUT_S
) -> Conn:
    """:returns: an autocommit connection in UTC.
    :raises OSError, MySQLError: as the driver has it; a server without TLS, where it has to be verified, too.
    """
    conn = pymysql.connect(
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
        init_command="SET time_zone='+00:00'",
        ssl=context,
    )
    # The driver goes on in the clear when a server offers no TLS.
    if endpoint.ssl_ca and not isinstance(getattr(conn, "_sock", None), ssl.SSLSocket):
        conn.close()
        raise ssl.SSLError(f"the server offers no TLS, and ssl_ca {endpoint.ssl_ca} asks for it")
    return conn


def rows(conn: Conn, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """:returns: all rows of *sql*."""
    with conn.cursor() as cursor:
        cursor.execute(sql, args or None)
        return list(cursor.fetchall())


def dicts(conn: Conn, sql: str) -> list[dict[str, Any]]:
    """:returns: all rows of *sql* by column name."""
    with conn.cursor(DictCursor) as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def value(conn: Conn, sql: str) -> Any:
    """:returns: the first column of the first row, or None."""
    found = rows(conn, sql)
    return found[0][0] if found else None


def run(conn: Conn, sql: str, args: Sequence[Any] = ()) -> None:
    """Execute *sql* and drop its result."""
    rows(conn, sql, args)


def status(conn: Conn, pattern: str) -> dict[str, str]:
    """:returns: global status variables matching the LIKE *pattern*, by lower-case name."""
    return {name.lower(): text for name, text in rows(conn, "SHOW GLOBAL STATUS LIKE %s", (pattern,))}
