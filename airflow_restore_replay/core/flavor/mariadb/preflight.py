"""Preconditions of a MariaDB primary for replay."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.float_columns import rounded_by_a_dump
from airflow_restore_replay.core.flavor.mariadb import grants, tables
from airflow_restore_replay.core.flavor.mariadb.identity import series_of
from airflow_restore_replay.core.flavor.sql import dicts, rows
from airflow_restore_replay.core.flavor.values import NODE_SERVER_IDS, Conn, PreflightReport

_OLDEST = (10, 5)
_NAMES_SHOWN = 20
#: variables for how long binary logs are kept, in seconds and in days; before 10.6 only the latter exists
EXPIRE_S = "binlog_expire_logs_seconds"
EXPIRE_DAYS = "expire_logs_days"


def preflight(primary: Conn) -> PreflightReport:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.preflight`."""
    refusals: dict[str, str] = {}
    warnings: dict[str, str] = {}
    variables = {name.lower(): text for name, text in rows(primary, "SHOW GLOBAL VARIABLES")}
    if not _release(variables, refusals):
        return PreflightReport(refusals=refusals, warnings=warnings)
    _grants(primary, refusals)
    if variables.get("log_bin") != "ON":
        refusals["log_bin"] = "The primary writes no binary log: set log_bin and restart it."
    else:
        _filters(primary, refusals)
    _logging(variables, warnings)
    if int(variables["server_id"]) in NODE_SERVER_IDS:
        refusals["server_id"] = (
            f"server_id {variables['server_id']} lies in the range of replay nodes "
            f"({NODE_SERVER_IDS.start}–{NODE_SERVER_IDS.stop - 1}): give the primary another."
        )
    _tables(primary, refusals, warnings)
    return PreflightReport(refusals=refusals, warnings=warnings)


def _release(variables: dict[str, str], refusals: dict[str, str]) -> bool:
    version = variables["version"]
    if "mariadb" not in version.lower() and "mariadb" not in variables.get("version_comment", "").lower():
        refusals["flavor"] = f"The primary is {version}, not MariaDB: set the cluster's flavor accordingly."
        return False
    if series_of(version) < _OLDEST:
        refusals["release"] = f"The primary is MariaDB {version}; 10.5 is the oldest that is supported."
        return False
    return True


def _grants(primary: Conn, refusals: dict[str, str]) -> None:
    lines = [line for (line,) in rows(primary, "SHOW GRANTS")]
    lacking = grants.missing(lines)
    if not lacking:
        return
    user, _, host = str(rows(primary, "SELECT CURRENT_USER()")[0][0]).rpartition("@")
    statement = f"GRANT {', '.join(lacking)} ON *.* TO {grants.account(user, host)};"
    refusals["grants"] = f"The account lacks {', '.join(lacking)}. Run on the primary: {statement}"


def _filters(primary: Conn, refusals: dict[str, str]) -> None:
    if "grants" in refusals:
        return
    for row in dicts(primary, "SHOW MASTER STATUS"):
        for column in ("Binlog_Do_DB", "Binlog_Ignore_DB"):
            if row.get(column):
                refusals[column.lower()] = (
                    f"The primary leaves schemas out of its binary log ({column.lower()}={row[column]}), so "
                    "no replica can equal it: remove the filter and restart the primary."
                )


def _logging(variables: dict[str, str], warnings: dict[str, str]) -> None:
    binlog_format = variables.get("binlog_format", "ROW")
    if binlog_format != "ROW":
        warnings["binlog_format"] = (
            f"binlog_format is {binlog_format}: statements may produce other rows on the node. Drift is found by "
            "the comparison; ROW avoids it."
        )
    if variables.get("binlog_row_image", "FULL") == "MINIMAL":
        warnings["binlog_row_image"] = (
            "binlog_row_image is MINIMAL: a row that differs is found late; FULL shows it."
        )
    if variables.get("sync_binlog") == "0":
        warnings["sync_binlog"] = (
            "sync_binlog is 0: a crash of the primary's machine may lose the end of its binary log, after "
            "which its history is no longer the backup's."
        )
    name = EXPIRE_S if EXPIRE_S in variables else EXPIRE_DAYS
    expire = float(variables.get(name) or 0) * (1 if name == EXPIRE_S else 86400)
    if 0 < expire < 2 * 86400:
        warnings[name] = (
            f"Binary logs are kept {expire / 3600:.0f} h only: keep them for at least two cycles, or a "
            "missed cycle costs a full copy."
        )


def _tables(primary: Conn, refusals: dict[str, str], warnings: dict[str, str]) -> None:
    unsupported = tables.unsupported_tables(primary)
    if unsupported:
        refusals["tables"] = f"A snapshot cannot carry: {_named(unsupported)}."
    functions = rows(primary, "SELECT name, dl FROM mysql.func") if "grants" not in refusals else []
    if functions:
        refusals["udf"] = "Loadable functions do not run on a node: " + ", ".join(
            f"{name} ({library})" for name, library in functions
        )
    warnings |= rounded_by_a_dump(primary, program="mariadb-dump", instead="seed physically")
    memory = tables.memory_tables(primary)
    if memory:
        names = {table.qualified: "MEMORY" for table in memory}
        warnings["memory_tables"] = f"Not replicated and empty in every restored copy: {_named(names)}."


def _named(found: dict[str, str]) -> str:
    shown = [f"{name} ({why})" for name, why in list(found.items())[:_NAMES_SHOWN]]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")
