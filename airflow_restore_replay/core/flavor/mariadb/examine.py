"""Each precondition of a MariaDB primary, with the statement that fixes it."""

from __future__ import annotations

import math

from airflow_restore_replay.core.flavor.examination import (
    Finding,
    Setting,
    Wanted,
    kept_long_enough,
    of_tables,
    rest_of,
)
from airflow_restore_replay.core.flavor.mariadb import grants
from airflow_restore_replay.core.flavor.mariadb.preflight import preflight
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn


def examine(primary: Conn, wanted: Wanted) -> list[Finding]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.examine`."""
    report = preflight(primary)
    if "flavor" in report.refusals or "release" in report.refusals:
        return rest_of(report, [])
    variables = {name.lower(): str(text) for name, text in rows(primary, "SHOW GLOBAL VARIABLES")}
    found = [setting.examine(variables) for setting in _settings(wanted)]
    found += _privileges(primary, wanted)
    found.append(of_tables(report.refusals.get("tables", ""), "Convert or drop them."))
    return found + rest_of(report, [*(finding.name for finding in found), "grants"])


def _settings(wanted: Wanted) -> list[Setting]:
    keep_s = math.ceil(wanted.keep_s)

    def lasting(name: str, value: object) -> str:
        return f"SET GLOBAL {name}={value}; and {name}={value} in the option file, section [mariadbd]"

    return [
        Setting(
            "log_bin",
            "ON",
            "In the option file, section [mariadbd]: log_bin=binlog; then restart the primary.",
        ),
        Setting(
            "binlog_expire_logs_seconds",
            f"0 or at least {keep_s} (two cycles)",
            lasting("binlog_expire_logs_seconds", keep_s),
            must=False,
            holds=kept_long_enough(keep_s),
        ),
        Setting("binlog_format", "ROW", lasting("binlog_format", "ROW"), must=False),
        Setting("binlog_row_image", "FULL", lasting("binlog_row_image", "FULL"), must=False),
        Setting("sync_binlog", "1", lasting("sync_binlog", 1), must=False),
    ]


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
