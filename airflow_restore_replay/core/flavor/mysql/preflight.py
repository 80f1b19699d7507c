"""Preconditions of a MySQL primary for replay."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.float_columns import rounded_by_a_dump
from airflow_restore_replay.core.flavor.mysql import grants, tables
from airflow_restore_replay.core.flavor.mysql.connect import release
from airflow_restore_replay.core.flavor.mysql.dialect import dialect
from airflow_restore_replay.core.flavor.mysql.identity import release_of
from airflow_restore_replay.core.flavor.sql import dicts, rows
from airflow_restore_replay.core.flavor.values import NODE_SERVER_IDS, Conn, PreflightReport

_OLDEST = (8, 0)
_NAMES_SHOWN = 20
_PAGE_BYTES = "16384"
#: longest password of replication. Source: MySQL manual, "START REPLICA Statement", and measured on 9.7.
_PASSWORD_BYTES = 32
#: how to enable GTIDs without a restart. Source: MySQL manual, "Enabling GTID Transactions Online".
_GTID_ON = (
    "SET PERSIST enforce_gtid_consistency=ON; then, on the primary and all its replicas, SET PERSIST gtid_mode="
    "OFF_PERMISSIVE, ON_PERMISSIVE and ON, one after the other"
)


def preflight(primary: Conn) -> PreflightReport:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.preflight`."""
    refusals: dict[str, str] = {}
    warnings: dict[str, str] = {}
    variables = {name.lower(): text for name, text in rows(primary, "SHOW GLOBAL VARIABLES")}
    if not _release(variables, refusals):
        return PreflightReport(refusals=refusals, warnings=warnings)
    _grants(primary, refusals)
    _password(primary, refusals)
    _binlog(primary, variables, refusals)
    _fixed_at_birth(variables, refusals)
    _logging(variables, warnings)
    if int(variables["server_id"]) in NODE_SERVER_IDS:
        refusals["server_id"] = (
            f"server_id {variables['server_id']} lies in the range of replay nodes "
            f"({NODE_SERVER_IDS.start}–{NODE_SERVER_IDS.stop - 1}): give the primary another."
        )
    if "PROCESS" not in refusals.get("grants", ""):
        _tables(primary, refusals, warnings)
    return PreflightReport(refusals=refusals, warnings=warnings)


def _release(variables: dict[str, str], refusals: dict[str, str]) -> bool:
    version = variables["version"]
    if "mariadb" in (version + variables.get("version_comment", "")).lower():
        refusals["flavor"] = f"The primary is {version}, not MySQL: set the cluster's flavor accordingly."
        return False
    series = tuple(int(part) for part in release_of(version).split(".")[:2])
    if series < _OLDEST:
        refusals["release"] = f"The primary is MySQL {version}; 8.0 is the oldest that is supported."
        return False
    return True


def _grants(primary: Conn, refusals: dict[str, str]) -> None:
    lacking = grants.missing(grants.held(primary))
    if not lacking:
        return
    user, _, host = str(rows(primary, "SELECT CURRENT_USER()")[0][0]).rpartition("@")
    statement = f"GRANT {', '.join(lacking)} ON *.* TO {grants.account(user, host)};"
    refusals["grants"] = f"The account lacks {', '.join(lacking)}. Run on the primary: {statement}"


def _password(primary: Conn, refusals: dict[str, str]) -> None:
    """Refuse a password that is too long for replication, which would fail with "access denied".

    All other connections accept such a password.
    """
    length = len(getattr(primary, "password", None) or b"")
    if length > _PASSWORD_BYTES:
        refusals["password"] = (
            f"The account's password has {length} bytes, of which replication uses {_PASSWORD_BYTES}: ALTER USER with "
            "a password that is not longer."
        )


def _binlog(primary: Conn, variables: dict[str, str], refusals: dict[str, str]) -> None:
    if variables.get("log_bin") != "ON":
        refusals["log_bin"] = "The primary writes no binary log: set log_bin and restart it."
        return
    if variables.get("gtid_mode") != "ON":
        refusals["gtid_mode"] = f"gtid_mode is {variables.get('gtid_mode')}, ON is needed: {_GTID_ON}."
    if variables.get("binlog_order_commits") == "OFF":
        refusals["binlog_order_commits"] = (
            "binlog_order_commits is OFF, so that commits are visible in another order than the binary log's: "
            "SET PERSIST binlog_order_commits=ON."
        )
    if "grants" in refusals:
        return
    for row in dicts(primary, dialect(release(primary)).binlog_status):
        for column in ("Binlog_Do_DB", "Binlog_Ignore_DB"):
            if row.get(column):
                refusals[column.lower()] = (
                    f"The primary leaves schemas out of its binary log ({column.lower()}={row[column]}), so "
                    "no replica can equal it: remove the filter and restart the primary."
                )


def _fixed_at_birth(variables: dict[str, str], refusals: dict[str, str]) -> None:
    """Refuse settings that a data directory is created with, if a node's server runs with other ones."""
    for name, expected in (("lower_case_table_names", "0"), ("innodb_page_size", _PAGE_BYTES)):
        if variables.get(name, expected) != expected:
            refusals[name] = (
                f"{name} is {variables[name]}; nodes have {expected}, and no server can change it."
            )


def _logging(variables: dict[str, str], warnings: dict[str, str]) -> None:
    binlog_format = variables.get("binlog_format", "ROW")
    if binlog_format != "ROW":
        warnings["binlog_format"] = (
            f"binlog_format is {binlog_format}: statements may produce other rows on the node. Drift is found by "
            "the comparison; ROW avoids it."
        )
    if variables.get("binlog_row_image", "FULL") != "FULL":
        warnings["binlog_row_image"] = (
            f"binlog_row_image is {variables['binlog_row_image']}: a row that differs is found late; FULL shows it."
        )
    if variables.get("sync_binlog") == "0":
        warnings["sync_binlog"] = (
            "sync_binlog is 0: a crash of the primary's machine may lose the end of its binary log, after "
            "which its history is no longer the backup's."
        )
    expire = float(variables.get("binlog_expire_logs_seconds", "0") or 0)
    if 0 < expire < 2 * 86400:
        warnings["binlog_expire_logs_seconds"] = (
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
    warnings |= rounded_by_a_dump(primary, program="mysqldump", instead="seed by CLONE")
    memory = tables.memory_tables(primary)
    if memory:
        names = {table.qualified: "MEMORY" for table in memory}
        warnings["memory_tables"] = f"Not replicated and empty in every restored copy: {_named(names)}."


def _named(found: dict[str, str]) -> str:
    shown = [f"{name} ({why})" for name, why in list(found.items())[:_NAMES_SHOWN]]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")
