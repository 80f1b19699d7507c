"""Decode query events: a statement, and what the log has about its session.

Source: MySQL source documentation, "Query_event"; MariaDB documentation, "QUERY_EVENT".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from airflow_restore_replay.core.flavor.changes.charsets import decoded

#: thread, seconds, length of the schema's name, error, length of the status variables
POST = struct.Struct("<IIBHH")
#: of LOAD DATA in STATEMENT format, these follow: the file, and where its name is in the statement
LOAD_POST_BYTES = 13
#: of a statement, more is not kept
KEPT_BYTES = 64 * 2**10

#: status variables of a fixed length, by code. Source: MySQL source, ``Query_event::Query_event_status_vars``; MariaDB
#: source, ``log_event.h``.
_FIXED = {
    0: 4,
    1: 8,
    3: 4,
    4: 6,
    7: 2,
    8: 2,
    9: 8,
    10: 4,
    13: 3,
    16: 1,
    17: 8,
    18: 2,
    19: 1,
    20: 1,
    128: 3,
    129: 8,
}
_SQL_MODE, _CATALOG, _CHARSET, _TIME_ZONE, _CATALOG_NZ, _INVOKER, _UPDATED = 1, 2, 4, 5, 6, 11, 12
#: the names of updated schemas are left out if there are more
_MOST_UPDATED = 254
_ANSI_QUOTES, _NO_BACKSLASH_ESCAPES = 1 << 2, 1 << 20


@dataclass(frozen=True)
class Statement:
    """A statement as it was logged.

    :param text: at most :data:`KEPT_BYTES` of it.
    :param schema: the session's default schema.
    :param account: ``user@host`` of the session, which servers log only for statements that depend on it.
    :param connection: id of the session's connection on the primary.
    :param ansi_quotes: double quotes enclose names.
    :param backslash_escapes: a backslash in a string escapes what follows.
    """

    text: str
    schema: str = ""
    account: str = ""
    connection: int = 0
    ansi_quotes: bool = False
    backslash_escapes: bool = True


def text_begins_at(body: bytes, at: int, *, further_bytes: int = 0) -> int:
    """Return where the text of the query event that begins at *at* begins.

    :param further_bytes: between the fixed part and the status variables.
    """
    _, _, schema_bytes, _, status_bytes = POST.unpack_from(body, at)
    return at + POST.size + further_bytes + int(status_bytes) + int(schema_bytes) + 1


def decode(body: bytes, text: bytes, *, further_bytes: int = 0) -> Statement:
    """Decode a query event.

    :param body: its bytes up to the text; the text itself may be compressed there.
    :param text: as the session sent it.
    """
    thread, _, schema_bytes, _, status_bytes = POST.unpack_from(body)
    at = POST.size + further_bytes
    known = _status(body[at : at + status_bytes])
    at += status_bytes
    mode = known.mode
    return Statement(
        decoded(text[:KEPT_BYTES], known.collation),
        body[at : at + schema_bytes].decode("utf-8", "replace"),
        known.account,
        thread,
        bool(mode & _ANSI_QUOTES),
        not mode & _NO_BACKSLASH_ESCAPES,
    )


@dataclass
class _Status:
    mode: int = 0
    collation: int = 0
    account: str = ""


def _status(data: bytes) -> _Status:
    """Decode status variables up to the first that is not known, as servers do."""
    found, at = _Status(), 0
    while at < len(data):
        code = data[at]
        at += 1
        if code == _SQL_MODE:
            (found.mode,) = struct.unpack_from("<Q", data, at)
        elif code == _CHARSET:
            (found.collation,) = struct.unpack_from("<H", data, at)
        elif code == _INVOKER:
            user, at = _counted(data, at)
            host, at = _counted(data, at)
            found.account = f"{user}@{host}" if user or host else ""
        if code in _FIXED:
            at += _FIXED[code]
        elif code in (_TIME_ZONE, _CATALOG_NZ):
            at += 1 + data[at]
        elif code == _CATALOG:
            at += 2 + data[at]
        elif code == _UPDATED:
            at = _after_updated(data, at)
        elif code != _INVOKER:
            break
    return found


def _counted(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", "replace"), end


def _after_updated(data: bytes, at: int) -> int:
    count = data[at]
    at += 1
    for _ in range(0 if count >= _MOST_UPDATED else count):
        at = data.index(0, at) + 1
    return at
