"""Tables and events of a server, and which tables a snapshot or a comparison cannot cover."""

from __future__ import annotations

import re

from airflow_restore_replay.core.flavor import tables as base
from airflow_restore_replay.core.flavor.mariadb.identity import series_of
from airflow_restore_replay.core.flavor.quoting import joined, qualified
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, value
from airflow_restore_replay.core.flavor.values import Conn, Table

#: engines whose data is only in files of the data directory, so that a cold copy contains it
CARRIED_ENGINES = frozenset(
    {"InnoDB", "Aria", "MyISAM", "MRG_MyISAM", "MRG_MYISAM", "CSV", "MEMORY", "ARCHIVE", "BLACKHOLE"}
)

#: the first release whose mariadb-dump has --dump-history
DUMPS_HISTORY = (10, 11)
#: a release from which on mariadb-dump can be given a first statement; that of 10.5 cannot
TAKES_SESSION = (10, 11)

_ELSEWHERE = "DATA DIRECTORY or INDEX DIRECTORY: its files lie outside the data directory"
# In the engine's names, a slash is only between schema and table, and #P# only before a partition.
_PARTS = ", ".join(
    f"CONVERT(CONVERT(CAST({part} AS BINARY) USING filename) USING utf8mb4)"
    for part in (
        "SUBSTRING_INDEX(NAME, '/', 1)",
        "SUBSTRING_INDEX(SUBSTRING_INDEX(NAME, '/', -1), '#P#', 1)",
    )
)
_BASE = "TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"


def tables(conn: Conn) -> list[Table]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.tables`."""
    return base.tables(conn, base=_BASE)


def unsupported_tables(conn: Conn) -> dict[str, str]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.unsupported_tables`."""
    why = base.of_other_engines(tables(conn), CARRIED_ENGINES)
    for schema, name, options in rows(
        conn,
        "SELECT TABLE_SCHEMA, TABLE_NAME, LOWER(CREATE_OPTIONS) FROM information_schema.TABLES"
        f" WHERE {_BASE} AND TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS} AND CREATE_OPTIONS <> ''",
    ):
        reason = _unsupported_option(conn, schema, name, options)
        if reason:
            why[joined(schema, name)] = reason
    why.update(_outside_data_directory(conn))
    return why


def _unsupported_option(conn: Conn, schema: str, name: str, options: str) -> str:
    """Return why a snapshot cannot contain the table because of its options, or ``""`` if it can.

    :param options: ``CREATE_OPTIONS`` in lower case.
    """
    if re.search(r"(data|index) directory", options):
        return _ELSEWHERE
    if re.search(r"`?encrypted`?='?yes", options):
        return "encrypted at rest; the node has no keyring"
    # Only SHOW CREATE TABLE shows the directories of partitions.
    if "partitioned" in options:
        shown = rows(conn, f"SHOW CREATE TABLE {qualified(schema, name)}")[0][1]
        if re.search(r"\b(DATA|INDEX) DIRECTORY = '", shown):
            return _ELSEWHERE
    return ""


def unlisted_tables(conn: Conn) -> dict[str, bool]:
    """See :data:`~airflow_restore_replay.core.flavor.visibility.Unlisted`."""
    stored = rows(
        conn,
        f"SELECT DISTINCT {_PARTS} FROM information_schema.INNODB_SYS_TABLES"
        " WHERE NAME LIKE '%/%' AND NAME NOT LIKE '%/#sql%'",
    )
    listed = set(base.names(conn))
    # Nothing hides a schema from who has SELECT everywhere, and a crash may leave tables of a schema that is gone.
    return {
        joined(schema, name): False
        for schema, name in sorted(stored)
        if (schema, name) not in listed and not base.is_auxiliary(name)
    }


def uncompared(conn: Conn) -> dict[str, str]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.uncompared`."""
    why = base.without_snapshots(tables(conn))
    sequences = rows(
        conn,
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES"
        f" WHERE TABLE_TYPE = 'SEQUENCE' AND TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS}",
    )
    why.update({joined(schema, name): "sequence: a snapshot does not cover it" for schema, name in sequences})
    return why


def versioned_tables(conn: Conn) -> list[str]:
    """Return the names of the system-versioned tables."""
    found = rows(
        conn,
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES"
        f" WHERE TABLE_TYPE = 'SYSTEM VERSIONED' AND TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS} ORDER BY 1",
    )
    return [name for (name,) in found]


def memory_tables(conn: Conn) -> list[Table]:
    """Return the MEMORY tables: they are not replicated to a node, and empty in every restored copy."""
    return [table for table in tables(conn) if table.engine == "MEMORY"]


def _outside_data_directory(conn: Conn) -> dict[str, str]:
    """Return the tables with an absolute tablespace path outside the data directory, also those of partitions only."""
    spaces, path = "information_schema.INNODB_SYS_TABLESPACES", "FILENAME"
    if series_of(str(value(conn, "SELECT VERSION()"))) < (10, 6):
        spaces, path = f"{spaces} JOIN information_schema.INNODB_SYS_DATAFILES USING (SPACE)", "PATH"
    found = rows(
        conn,
        f"SELECT DISTINCT {_PARTS} FROM {spaces}"
        f" WHERE {path} LIKE '/%' AND {path} NOT LIKE CONCAT(@@GLOBAL.datadir, '%') AND NAME LIKE '%/%'",
    )
    return {joined(schema, name): _ELSEWHERE for schema, name in found}
