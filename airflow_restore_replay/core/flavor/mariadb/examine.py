"""Each precondition of a MariaDB primary, with the statement that fixes it."""

from __future__ import annotations

import math

from airflow_restore_replay.core.flavor.findings import (
    Finding,
    Setting,
    Wanted,
    kept_long_enough,
    of_tables,
    rest_of,
)
from airflow_restore_replay.core.flavor.mariadb import grants, tables
from airflow_restore_replay.core.flavor.mariadb.identity import release_of, series_of
from airflow_restore_replay.core.flavor.mariadb.preflight import EXPIRE_DAYS, EXPIRE_S, preflight
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn


def examine(primary: Conn, wanted: Wanted) -> list[Finding]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.examine`."""
    report = preflight(primary)
    if "flavor" in report.refusals or "release" in report.refusals:
        return rest_of(report, [])
    variables = {name.lower(): str(text) for name, text in rows(primary, "SHOW GLOBAL VARIABLES")}
    found = [setting.examine(variables) for setting in _settings(wanted, variables)]
    found += _privileges(primary, wanted)
    if wanted.seed == "logical" and series_of(variables["version"]) < tables.DUMPS_HISTORY:
        found.append(_history(primary, variables["version"]))
    found.append(of_tables(report.refusals.get("tables", ""), "Convert or drop them."))
    return found + rest_of(report, [*(finding.name for finding in found), "grants"])


def _settings(wanted: Wanted, variables: dict[str, str]) -> list[Setting]:
    return [
        Setting(
            "log_bin",
            "ON",
            "In the option file, section [mariadbd]: log_bin=binlog; then restart the primary.",
        ),
        _kept_logs(wanted.keep_s, variables),
        Setting("binlog_format", "ROW", _lasting("binlog_format", "ROW"), must=False),
        Setting("binlog_row_image", "FULL", _lasting("binlog_row_image", "FULL"), must=False),
        Setting("sync_binlog", "1", _lasting("sync_binlog", 1), must=False),
    ]


def _kept_logs(keep_s: float, variables: dict[str, str]) -> Setting:
    name, keep = EXPIRE_S, math.ceil(keep_s)
    if name not in variables:
        name, keep = EXPIRE_DAYS, math.ceil(keep_s / 86400)
    return Setting(
        name,
        f"0 or at least {keep} (two cycles)",
        _lasting(name, keep),
        must=False,
        holds=kept_long_enough(keep),
    )


def _lasting(name: str, value: object) -> str:
    return f"SET GLOBAL {name}={value}; and {name}={value} in the option file, section [mariadbd]"


def _history(primary: Conn, version: str) -> Finding:
    versioned = tables.versioned_tables(primary)
    return Finding(
        subject="primary",
        name="system-versioned tables",
        passed=not versioned,
        for_seed=True,
        observed=", ".join(versioned) or "none",
        expected=f"none: the mariadb-dump of {release_of(version)} leaves out their history",
        fix=tables.SEED_HISTORY if versioned else "",
    )


def _privileges(primary: Conn, wanted: Wanted) -> list[Finding]:
    lines = [str(line) for (line,) in rows(primary, "SHOW GRANTS")]
    lacking = set(grants.missing(lines, physical=wanted.seed == "physical"))
    user, _, host = str(rows(primary, "SELECT CURRENT_USER()")[0][0]).rpartition("@")
    return [
        Finding(
            subject="primary",
            name=f"grant {name}",
            passed=name not in lacking,
            for_seed=name in grants.PHYSICAL_ONLY,
            observed="missing" if name in lacking else "granted",
            expected=why,
            fix=f"GRANT {name} ON *.* TO {grants.account(user, host)};" if name in lacking else "",
        )
        for name, why in grants.PRIVILEGES.items()
        if wanted.seed == "physical" or name not in grants.PHYSICAL_ONLY
    ]
