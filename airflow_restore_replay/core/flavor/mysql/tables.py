"""Tables and events of a server, and which tables a snapshot or a comparison cannot cover."""

from __future__ import annotations

import re

from airflow_restore_replay.core.flavor import tables as base
from airflow_restore_replay.core.flavor.quoting import joined
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, run
from airflow_restore_replay.core.flavor.values import Conn, Table

#: engines whose data is only in files of the data directory, so that a cold copy contains it
CARRIED_ENGINES = frozenset({"InnoDB", "MyISAM", "MRG_MYISAM", "CSV", "MEMORY", "ARCHIVE", "BLACKHOLE"})

_PARTITION = re.compile("#p#", re.IGNORECASE)
_ELSEWHERE = "DATA DIRECTORY: its files lie outside the data directory"
_ENCRYPTED = "encrypted at rest; the node has no keyring"


def tables(conn: Conn) -> list[Table]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.tables`."""
    return base.tables(conn, base="TABLE_TYPE = 'BASE TABLE'")


def unsupported_tables(conn: Conn) -> dict[str, str]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.unsupported_tables`."""
    why = base.of_other_engines(tables(conn), CARRIED_ENGINES)
    # Covers the directories of partitions, too; needs PROCESS.
    outside = rows(
        conn,
        "SELECT s.NAME, d.PATH FROM information_schema.INNODB_TABLESPACES s"
        " JOIN information_schema.INNODB_DATAFILES d ON d.SPACE = s.SPACE"
        " WHERE d.PATH LIKE '/%' AND d.PATH NOT LIKE CONCAT(@@GLOBAL.datadir, '%')"
        " AND s.SPACE_TYPE IN ('Single', 'General')",
    )
    why.update({_qualified(name): _ELSEWHERE for name, _ in outside})
    encrypted = rows(
        conn, "SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE UPPER(ENCRYPTION) = 'Y'"
    )
    why.update({_qualified(name): _ENCRYPTED for (name,) in encrypted})
    return why


def _qualified(tablespace: str) -> str:
    schema, slash, name = tablespace.partition("/")
    return joined(schema, _PARTITION.split(name)[0]) if slash else f"tablespace {tablespace}"


def unlisted_tables(conn: Conn) -> dict[str, bool]:
    """See :data:`~airflow_restore_replay.core.flavor.visibility.Unlisted`."""
    spaces = rows(
        conn,
        "SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE SPACE_TYPE = 'Single' AND NAME LIKE '%/%'",
    )
    listed = {f"{schema}/{name}" for schema, name in base.names(conn)}
    known = tuple(f"{name}/" for name in base.schema_names(conn))
    # Names are as users wrote them, so only the listed ones say where the schema's ends and the table's begins.
    found = {str(name) for (name,) in spaces if not base.is_auxiliary(str(name).rpartition("/")[2])}
    return {
        space: not space.startswith(known)
        for space in sorted(found)
        if listed.isdisjoint({space, *(space[: at.start()] for at in _PARTITION.finditer(space))})
    }


def uncompared(conn: Conn) -> dict[str, str]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.uncompared`."""
    return base.without_snapshots(tables(conn))


def memory_tables(conn: Conn) -> list[Table]:
    """Return the MEMORY tables: they are not replicated to a node, and empty in every restored copy."""
    return [table for table in tables(conn) if table.engine == "MEMORY"]


def event_states(conn: Conn) -> dict[str, str]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.event_states`."""
    return base.event_states(conn, f"EVENT_SCHEMA NOT IN {SYSTEM_SCHEMAS}")


def schemas(conn: Conn) -> list[str]:
    """Return the users' schemas."""
    found = rows(
        conn,
        f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {SYSTEM_SCHEMAS} ORDER BY 1",
    )
    return [str(name) for (name,) in found]


def general_tablespaces(conn: Conn) -> list[tuple[str, str, int]]:
    """Return name, path and block size of the general tablespaces."""
    return [
        (str(name), str(path).removeprefix("./"), int(zip_size) or int(page_size))
        for name, path, zip_size, page_size in rows(
            conn,
            "SELECT s.NAME, d.PATH, s.ZIP_PAGE_SIZE, s.PAGE_SIZE FROM information_schema.INNODB_TABLESPACES s"
            " JOIN information_schema.INNODB_DATAFILES d ON d.SPACE = s.SPACE"
            " WHERE s.SPACE_TYPE = 'General' AND s.NAME <> 'mysql'",
        )
    ]


def forget_cached_estimates(conn: Conn) -> None:
    """Make the session read current estimates: MySQL caches them for a day, and a seed's total should not be old."""
    run(conn, "SET SESSION information_schema_stats_expiry = 0")
