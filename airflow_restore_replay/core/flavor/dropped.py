"""Read what other sessions may drop while it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pymysql

from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn

_T = TypeVar("_T")
_NO_SUCH_TABLE = 1146
#: no such schema, table, routine, trigger or event, or an object of another kind by now
_DROPPED = frozenset({1049, 1051, _NO_SUCH_TABLE, 1305, 1347, 1360, 1539, 4089})
_TRIES = 5


def again_if_dropped(read: Callable[[], _T]) -> _T:
    """Return what *read* returns; call it again if an object that it had listed is gone.

    :raises pymysql.err.MySQLError: that of the server; of the last of five tries, if objects are dropped all the time.
    """
    for _ in range(_TRIES - 1):
        try:
            return read()
        except pymysql.err.MySQLError as exc:
            if not _gone(exc):
                raise
    return read()


@contextlib.contextmanager
def unless_dropped() -> Iterator[None]:
    """Leave the context, without an error, when the object that is read in it is gone."""
    try:
        yield
    except pymysql.err.MySQLError as exc:
        if not _gone(exc):
            raise


def _gone(exc: pymysql.err.MySQLError) -> bool:
    return bool(exc.args) and exc.args[0] in _DROPPED


def row_of(conn: Conn, query: str, name: str) -> Any:
    """Return the only row of *query*, which is about the object *name*.

    :raises pymysql.err.ProgrammingError: the object is gone.
    """
    found = rows(conn, query)
    if not found:
        raise pymysql.err.ProgrammingError(_NO_SUCH_TABLE, f"{name} was dropped while it was read")
    return found[0]
