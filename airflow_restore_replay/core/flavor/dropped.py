"""Read what other sessions may drop while it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pymysql

from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn

_T = TypeVar("_T")
_NO_SUCH_TABLE = 1146
_DROPPED = frozenset({1049, _NO_SUCH_TABLE, 1305, 1360, 1539})
_TRIES = 5


def again_if_dropped(read: Callable[[], _T]) -> _T:
    """Return what *read* returns; call it again if an object that it had listed is gone.

    :raises pymysql.err.MySQLError: that of the server; of the last of five tries, if objects are dropped all the time.
    """
    for _ in range(_TRIES - 1):
        try:
            return read()
        except pymysql.err.MySQLError as exc:
            if not exc.args or exc.args[0] not in _DROPPED:
                raise
    return read()


def row_of(conn: Conn, query: str, name: str) -> Any:
    """Return the only row of *query*, which is about the object *name*.

    :raises pymysql.err.ProgrammingError: the object is gone.
    """
    found = rows(conn, query)
    if not found:
        raise pymysql.err.ProgrammingError(_NO_SUCH_TABLE, f"{name} was dropped while it was read")
    return found[0]
