"""The examinations of a MySQL primary."""

from __future__ import annotations

import math

from airflow_restore_replay.core.flavor import primary_examinations as common
from airflow_restore_replay.core.flavor.examination import Examination, Observation, PrimaryFacts
from airflow_restore_replay.core.flavor.findings import Severity
from airflow_restore_replay.core.flavor.mysql import accounts, grants, tables
from airflow_restore_replay.core.flavor.mysql.clone_examinations import CLONE_EXAMINATIONS
from airflow_restore_replay.core.flavor.mysql.connect import release
from airflow_restore_replay.core.flavor.mysql.dialect import dialect
from airflow_restore_replay.core.flavor.mysql.identity import release_of
from airflow_restore_replay.core.flavor.mysql.kept_logs import hours_kept_by_service
from airflow_restore_replay.core.flavor.mysql.variables import VARIABLES
from airflow_restore_replay.core.flavor.primary_examinations import Upstream
from airflow_restore_replay.core.flavor.sql import dicts
from airflow_restore_replay.core.flavor.stored_columns import recomputed
from airflow_restore_replay.core.flavor.variable_examinations import followed
from airflow_restore_replay.core.flavor.visibility import hidden_tables, sight, withheld

#: how to enable GTIDs without a restart. Source: MySQL manual, "Enabling GTID Transactions Online".
_GTID_ON = (
    "SET PERSIST enforce_gtid_consistency=ON; SET PERSIST gtid_mode=OFF_PERMISSIVE; SET PERSIST "
    "gtid_mode=ON_PERMISSIVE; SET PERSIST gtid_mode=ON; (each step on all servers of the topology before the next)"
)
#: longest password of replication. Source: MySQL manual, "START REPLICA Statement", and measured on 9.7.
_PASSWORD_BYTES = 32
_EXPIRE = "binlog_expire_logs_seconds"


def _series_of(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release_of(version).split(".")[:2])


def _is_managed(facts: PrimaryFacts) -> bool:
    return "SELECT" in facts.privileges and accounts.is_managed(facts.conn)


def _unless_managed(fix: str, managed: str) -> common.Fix:
    """Return a fix, and another one for the primary of a managed service."""
    return lambda facts: managed if _is_managed(facts) else fix


def _kept_logs(facts: PrimaryFacts) -> Observation:
    keep_s = math.ceil(facts.wanted.keep_s)
    observed, expected = facts.variables.get(_EXPIRE, "0"), f"0 or at least {keep_s} (two cycles)"
    if not _is_managed(facts):
        return Observation(
            common.kept_enough(observed, keep_s), observed, expected, f"SET PERSIST {_EXPIRE}={keep_s};"
        )
    hours = hours_kept_by_service(facts.conn)
    fix = f"CALL mysql.rds_set_configuration('binlog retention hours', {math.ceil(keep_s / 3600)});"
    return Observation(hours * 3600 >= keep_s, f"{hours:.0f} hours, by the managed service", expected, fix)


def _password(facts: PrimaryFacts) -> Observation:
    """Observe the length of the password: all connections but replication's accept a longer one."""
    length = len(getattr(facts.conn, "password", None) or b"")
    return Observation(
        length <= _PASSWORD_BYTES,
        f"{length} bytes",
        f"at most {_PASSWORD_BYTES} bytes, of which replication uses no more",
        "ALTER USER with a shorter password.",
    )


def _upstream(facts: PrimaryFacts) -> Upstream:
    channels = dicts(facts.conn, f"SHOW {dialect(release(facts.conn)).replica} STATUS")
    hosts = sorted({str(row.get("Source_Host") or row.get("Master_Host")) for row in channels})
    if not hosts:
        return Upstream(Severity.OK, "")
    return Upstream(Severity.REFUSED, f"the primary is a replica of {', '.join(hosts)}")


_WITHHELD = withheld(grants.withheld)
#: what is examined again before a backup is published
SIGHT = sight(grants.SEEING, grants.REQUIRED, tables.unlisted_tables, _WITHHELD)
EXAMINATIONS: tuple[Examination, ...] = (
    common.flavor("MySQL", lambda version: "mariadb" not in version.lower()),
    common.release("MySQL", (8, 0), _series_of),
    common.setting(
        "log_bin",
        "ON",
        _unless_managed(
            "log_bin=binlog in the option file, section [mysqld]; then restart the primary.",
            "Turn on automated backups (RDS), or binlog_format in the cluster's parameter group (Aurora).",
        ),
    ),
    common.setting("gtid_mode", "ON", _unless_managed(_GTID_ON, "gtid-mode=ON in the parameter group.")),
    common.setting(
        "enforce_gtid_consistency",
        "ON",
        _unless_managed(
            "SET PERSIST enforce_gtid_consistency=ON;", "enforce_gtid_consistency=ON in the parameter group."
        ),
    ),
    common.setting("binlog_order_commits", "ON", "SET PERSIST binlog_order_commits=ON;"),
    Examination(name=_EXPIRE, observe=_kept_logs, severity=Severity.WARNING),
    *(
        common.setting(name, value, f"SET PERSIST {name}={value};", severity=Severity.WARNING)
        for name, value in (("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("sync_binlog", "1"))
    ),
    *(common.grant(name, why) for name, why in grants.REQUIRED.items()),
    *(
        common.grant(
            name,
            why,
            severity=Severity.WARNING,
            # To CLONE it is not optional.
            seeds=("logical",) if name == "BACKUP_ADMIN" else (),
            for_seed=True,
        )
        for name, why in grants.OPTIONAL.items()
    ),
    _WITHHELD,
    hidden_tables(tables.unlisted_tables),
    Examination(name="password", observe=_password),
    *common.filters(lambda facts: dialect(release(facts.conn)).binlog_status, "REPLICATION CLIENT"),
    common.logged_replication(
        ["log_replica_updates", "log_slave_updates"],
        _upstream,
        "log_replica_updates=ON in the option file, section [mysqld]; then restart the primary.",
        needs=["REPLICATION CLIENT"],
    ),
    common.SERVER_ID,
    *followed(VARIABLES),
    common.carried(tables.unsupported_tables, "Move, decrypt (ALTER TABLE … ENCRYPTION='N') or drop them."),
    common.TRUSTED_FUNCTIONS,
    common.LOADABLE_FUNCTIONS,
    recomputed("Set seed.method: clone", escaped=True),
    common.rounded_floats("mysqldump", "seed by CLONE"),
    common.lost_memory(tables.memory_tables),
    *CLONE_EXAMINATIONS,
)
