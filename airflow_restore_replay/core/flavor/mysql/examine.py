"""Each precondition of a MySQL primary, with the statement that fixes it."""

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
from airflow_restore_replay.core.flavor.mysql import accounts, grants
from airflow_restore_replay.core.flavor.mysql.preflight import preflight
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn

_GTID_ON = (
    "SET PERSIST enforce_gtid_consistency=ON; SET PERSIST gtid_mode=OFF_PERMISSIVE; SET PERSIST "
    "gtid_mode=ON_PERMISSIVE; SET PERSIST gtid_mode=ON; (each step on all servers of the topology before the next)"
)


def examine(primary: Conn, wanted: Wanted) -> list[Finding]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.examine`."""
    report = preflight(primary)
    if "flavor" in report.refusals or "release" in report.refusals:
        return rest_of(report, [])
    variables = {name.lower(): str(text) for name, text in rows(primary, "SHOW GLOBAL VARIABLES")}
    found = [setting.examine(variables) for setting in _settings(primary, report.refusals, wanted)]
    found += _privileges(primary, wanted)
    fix = "Move, decrypt (ALTER TABLE … ENCRYPTION='N') or drop them."
    found.append(of_tables(report.refusals.get("tables", ""), fix))
    covered = [finding.name for finding in found]
    return found + rest_of(report, [*covered, "grants"])


def _settings(primary: Conn, refusals: object, wanted: Wanted) -> list[Setting]:
    keep_s = math.ceil(wanted.keep_s)
    managed = _managed(primary)
    retention = (
        f"CALL mysql.rds_set_configuration('binlog retention hours', {math.ceil(keep_s / 3600)});"
        if managed
        else f"SET PERSIST binlog_expire_logs_seconds={keep_s};"
    )
    log_bin = (
        "Turn on automated backups (RDS), or binlog_format in the cluster's parameter group (Aurora)."
        if managed
        else "In the option file, section [mysqld]: log_bin=binlog; then restart the primary."
    )
    return [
        Setting("log_bin", "ON", log_bin),
        Setting("gtid_mode", "ON", "gtid-mode=ON in the parameter group." if managed else _GTID_ON),
        Setting("binlog_order_commits", "ON", "SET PERSIST binlog_order_commits=ON;"),
        Setting(
            "binlog_expire_logs_seconds",
            f"0 or at least {keep_s} (two cycles)",
            retention,
            must=False,
            holds=(lambda _: _kept_by_service(primary) * 3600 >= keep_s)
            if managed
            else kept_long_enough(keep_s),
        ),
        Setting("binlog_format", "ROW", "SET PERSIST binlog_format=ROW;", must=False),
        Setting("binlog_row_image", "FULL", "SET PERSIST binlog_row_image=FULL;", must=False),
        Setting("sync_binlog", "1", "SET PERSIST sync_binlog=1;", must=False),
    ]


def _managed(primary: Conn) -> bool:
    return "SELECT" in grants.held(primary) and accounts.is_managed(primary)


def _kept_by_service(primary: Conn) -> float:
    """Return for how many hours the managed service keeps binary logs; 0 if it does not say."""
    schema = rows(
        primary,
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA='mysql' AND TABLE_NAME='rds_configuration'",
    )
    if not schema:
        return 0.0
    found = rows(primary, "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'")
    return float(found[0][0] or 0) if found else 0.0


def _privileges(primary: Conn, wanted: Wanted) -> list[Finding]:
    held = grants.held(primary)
    user, _, host = str(rows(primary, "SELECT CURRENT_USER()")[0][0]).rpartition("@")
    clone = wanted.seed == "clone"
    found = []
    for name, why in grants.PRIVILEGES.items():
        must = name in grants.REQUIRED or (clone and name == "BACKUP_ADMIN")
        passed = name in held
        found.append(
            Finding(
                subject="primary",
                name=f"grant {name}",
                passed=passed,
                must=must,
                for_seed=name not in grants.REQUIRED,
                observed="granted" if passed else "missing",
                expected=why,
                fix="" if passed else f"GRANT {name} ON *.* TO {grants.account(user, host)};",
            )
        )
    return [*found, _clone_plugin(primary)] if clone else found


def _clone_plugin(primary: Conn) -> Finding:
    state = rows(primary, "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'")
    observed = str(state[0][0]) if state else "not installed"
    passed = observed == "ACTIVE"
    return Finding(
        subject="primary",
        name="plugin clone",
        passed=passed,
        for_seed=True,
        observed=observed,
        expected="ACTIVE",
        fix="" if passed else "INSTALL PLUGIN clone SONAME 'mysql_clone.so';",
    )
