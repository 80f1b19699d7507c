"""Tables and events of a server, and which tables a snapshot or a comparison cannot cover."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, run, value
from airflow_restore_replay.core.flavor.values import Conn, Table

#: engines whose rows a consistent snapshot covers
MVCC_ENGINES = frozenset({"InnoDB"})
#: engines whose data is only in files of the data directory, so that a cold copy contains it
CARRIED_ENGINES = frozenset({"InnoDB", "MyISAM", "MRG_MYISAM", "CSV", "MEMORY", "ARCHIVE", "BLACKHOLE"})

_ELSEWHERE = "DATA DIRECTORY: its files lie outside the data directory"
_ENCRYPTED = "encrypted at rest; the node has no keyring"


def tables(conn: Conn) -> list[Table]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.tables`."""
    found = rows(
        conn,
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, COALESCE(TABLE_ROWS, 0),"
        " COALESCE(DATA_LENGTH + INDEX_LENGTH, 0)"
        f" FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS}"
        " ORDER BY TABLE_SCHEMA, TABLE_NAME",
    )
    return [
        Table(
            schema=schema,
            name=name,
            engine=engine or "",
            mvcc=engine in MVCC_ENGINES,
            rows_estimate=int(estimate),
            data_bytes=int(size),
        )
        for schema, name, engine, estimate, size in found
    ]


def data_bytes(conn: Conn) -> int:
    """Return the server's estimate of the size of all tables, in bytes."""
    return int(value(conn, "SELECT COALESCE(SUM(DATA_LENGTH), 0) FROM information_schema.TABLES") or 0)


def unsupported_tables(conn: Conn) -> dict[str, str]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.unsupported_tables`."""
    why: dict[str, str] = {}
    for table in tables(conn):
        if not table.engine:
            why[table.qualified] = "its engine is not known to the server, or its definition is broken"
        elif table.engine not in CARRIED_ENGINES:
            why[table.qualified] = (
                f"engine {table.engine} keeps data outside the data directory or is untested"
            )
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
    return f"{schema}.{name.split('#')[0]}" if slash else f"tablespace {tablespace}"


def uncompared(conn: Conn) -> dict[str, str]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.uncompared`."""
    return {
        table.qualified: f"engine {table.engine} has no snapshots" for table in tables(conn) if not table.mvcc
    }


def memory_tables(conn: Conn) -> list[Table]:
    """Return the MEMORY tables: they are not replicated to a node, and empty in every restored copy."""
    return [table for table in tables(conn) if table.engine == "MEMORY"]


def event_states(conn: Conn) -> dict[str, str]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.event_states`."""
    found = rows(
        conn,
        "SELECT EVENT_SCHEMA, EVENT_NAME, STATUS FROM information_schema.EVENTS"
        f" WHERE EVENT_SCHEMA NOT IN {SYSTEM_SCHEMAS} ORDER BY 1, 2",
    )
    return {f"{schema}.{name}": status for schema, name, status in found}


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
