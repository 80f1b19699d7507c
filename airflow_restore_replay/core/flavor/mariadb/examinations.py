"""The examinations of a MariaDB primary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from airflow_restore_replay.core.flavor import primary_examinations as common
from airflow_restore_replay.core.flavor.examination import Examination, Observation, PrimaryFacts
from airflow_restore_replay.core.flavor.findings import Severity
from airflow_restore_replay.core.flavor.mariadb import grants, tables
from airflow_restore_replay.core.flavor.mariadb.identity import release_of, series_of
from airflow_restore_replay.core.flavor.mariadb.variables import VARIABLES
from airflow_restore_replay.core.flavor.primary_examinations import Upstream
from airflow_restore_replay.core.flavor.quoting import joined, literal
from airflow_restore_replay.core.flavor.session import inherited
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, status, value
from airflow_restore_replay.core.flavor.stored_columns import recomputed
from airflow_restore_replay.core.flavor.variable_examinations import followed
from airflow_restore_replay.core.flavor.visibility import hidden_tables, sight

#: room for what information_schema answers to mariadb-dump
_TEMPORARY_BYTES = 64 * 2**20
_IN_FILE = "in the option file, section [mariadbd]"


def _lasting(name: str, value: object) -> str:
    return f"SET GLOBAL {name}={value}; and {name}={value} {_IN_FILE}"


def _fix_of(name: str) -> Callable[[int], str]:
    return lambda value: _lasting(name, value)


def _history(facts: PrimaryFacts) -> Observation | None:
    release = facts.wanted.node_release or facts.variables["version"]
    if series_of(release) >= tables.DUMPS_HISTORY:
        return None
    found = tables.versioned_tables(facts.conn)
    return Observation(
        not found,
        common.named(found),
        f"none: the mariadb-dump of {release_of(release)} leaves out their history",
        "Set seed.method: physical, which copies history rows; or ALTER TABLE … DROP SYSTEM VERSIONING.",
    )


def _transaction_history(facts: PrimaryFacts) -> Observation:
    """Observe the tables whose history has transaction numbers, which are those of each server alone."""
    found = rows(
        facts.conn,
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.COLUMNS"
        " WHERE GENERATION_EXPRESSION = 'ROW START' AND DATA_TYPE = 'bigint'"
        f" AND TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS} ORDER BY 1",
    )
    logical = facts.wanted.seed == "logical"
    return Observation(
        not found,
        common.named([str(name) for (name,) in found]),
        "none: no dump carries their history, and a replay numbers and dates it anew, so that AS OF finds other rows",
        f"{'Set seed.method: physical; or give' if logical else 'Give'} them TIMESTAMP(6) columns for start and end.",
        None if logical else Severity.WARNING,
    )


def _limits(facts: PrimaryFacts) -> Observation:
    """Observe limits of the account's sessions that the seed's program inherits."""
    logical = facts.wanted.seed == "logical"
    if logical and facts.wanted.node_release and series_of(facts.wanted.node_release) >= tables.TAKES_SESSION:
        return Observation(True, "none: the dump sets its own", "none", "")
    least = {"tmp_disk_table_size": _TEMPORARY_BYTES, "sql_select_limit": 2**64 - 1}
    least |= {"sql_big_selects": 1} if logical else {}
    got = rows(facts.conn, f"SELECT {', '.join(map(inherited, least))}")[0]
    low = {name: int(text) for name, text in zip(least, got, strict=True) if int(text) < least[name]}
    # This way the limit stays for everybody else.
    is_ours = f"CURRENT_USER() = {literal(str(value(facts.conn, 'SELECT CURRENT_USER()')))}"
    exempted = ", ".join(f"{name} = IF({is_ours}, {least[name]}, @@{name})" for name in low)
    statements = "; ".join(filter(None, (facts.variables["init_connect"], f"SET {exempted}")))
    return Observation(
        not low,
        ", ".join(f"{name}={text}" for name, text in low.items()) or "none",
        f"none: {'mariadb-dump of this release' if logical else 'mariadb-backup'} inherits them, and fails or reads too"
        " little",
        f"SET GLOBAL init_connect = {literal(statements)}; and the same {_IN_FILE}"
        f"{', or seed physically' if logical else ''}.",
    )


def _unquoted_names(facts: PrimaryFacts) -> Observation:
    """Observe tables that mariadb-backup locks by a statement in which it does not double their names' backticks."""
    found = rows(
        facts.conn,
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE ENGINE <> 'InnoDB'"
        " AND TABLE_TYPE = 'BASE TABLE' AND LOCATE('`', CONCAT(TABLE_SCHEMA, TABLE_NAME)) ORDER BY 1, 2",
    )
    return Observation(
        not found,
        common.named([joined(str(schema), str(name)) for schema, name in found]),
        "no table of another engine than InnoDB with a backtick in its name: mariadb-backup cannot lock it, and fails",
        "Set seed.method: logical; or rename the tables; or ALTER TABLE … ENGINE=InnoDB.",
    )


def _upstream(facts: PrimaryFacts) -> Upstream:
    """Return what the primary replicates from, as far as an account can see that has no privilege to ask for it."""
    if facts.variables.get("wsrep_on") == "ON":
        return Upstream(Severity.REFUSED, "the primary is a node of a Galera cluster")
    if int(status(facts.conn, "slaves_running").get("slaves_running") or 0):
        return Upstream(Severity.REFUSED, "the primary is a replica")
    if applied := facts.variables.get("gtid_slave_pos"):
        return Upstream(Severity.NOTE, f"the primary was a replica until {applied}")
    return Upstream(Severity.OK, "")


#: what is examined again before a backup is published
SIGHT = sight(grants.SEEING, grants.PRIVILEGES, tables.unlisted_tables)
#: is examined again before a dump, whose account may be another one, and may lack SELECT
HISTORY = Examination(name="system-versioned tables", observe=_history, seeds=["logical"], for_seed=True)
EXAMINATIONS: tuple[Examination, ...] = (
    common.flavor("MariaDB", lambda version: "mariadb" in version.lower()),
    common.release("MariaDB", (10, 5), series_of),
    common.setting("log_bin", "ON", f"log_bin=binlog {_IN_FILE}; then restart the primary."),
    common.kept_logs("binlog_expire_logs_seconds", 1, _fix_of("binlog_expire_logs_seconds")),
    common.kept_logs(
        "expire_logs_days", 86400, _fix_of("expire_logs_days"), unless="binlog_expire_logs_seconds"
    ),
    *(
        common.setting(name, value, _lasting(name, value), severity=Severity.WARNING)
        for name, value in (("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("sync_binlog", "1"))
    ),
    *(
        common.grant(
            name,
            why,
            seeds=("physical",) if name in grants.PHYSICAL_ONLY else (),
            for_seed=name in grants.PHYSICAL_ONLY,
        )
        for name, why in grants.PRIVILEGES.items()
    ),
    hidden_tables(tables.unlisted_tables),
    *common.filters(lambda _: "SHOW MASTER STATUS", "BINLOG MONITOR"),
    common.logged_replication(
        ["log_slave_updates"], _upstream, f"log_slave_updates=ON {_IN_FILE}; then restart the primary."
    ),
    common.SERVER_ID,
    *followed(VARIABLES),
    common.carried(tables.unsupported_tables, "Convert or drop them."),
    replace(HISTORY, needs=["SELECT"]),
    Examination(
        name="transaction-precise tables", observe=_transaction_history, for_seed=True, needs=["SELECT"]
    ),
    common.TRUSTED_FUNCTIONS,
    Examination(name="session limits", observe=_limits, seeds=["logical", "physical"], for_seed=True),
    Examination(name="names with backticks", observe=_unquoted_names, seeds=["physical"], for_seed=True),
    common.LOADABLE_FUNCTIONS,
    recomputed("Set seed.method: physical", escaped=False),
    common.rounded_floats("mariadb-dump", "seed physically"),
    common.lost_memory(tables.memory_tables),
)
