"""How long a primary keeps its binary logs; a managed service has a setting of its own."""

from __future__ import annotations

from airflow_restore_replay.core.flavor import kept_logs as common
from airflow_restore_replay.core.flavor.kept_logs import KeptLogs
from airflow_restore_replay.core.flavor.mysql import accounts, grants
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn


def kept_logs(primary: Conn) -> KeptLogs:
    """Return how long *primary* keeps its binary logs; unknown if a managed service does not say."""
    if "SELECT" in grants.held(primary) and accounts.is_managed(primary):
        hours = hours_kept_by_service(primary)
        return KeptLogs(keep_s=hours * 3600 if hours else None)
    return common.kept_logs(primary)


def hours_kept_by_service(primary: Conn) -> float:
    """Return for how many hours the managed service keeps binary logs; 0 if it does not say."""
    schema = rows(
        primary,
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA='mysql' AND TABLE_NAME='rds_configuration'",
    )
    if not schema:
        return 0.0
    found = rows(primary, "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'")
    return float(found[0][0] or 0) if found else 0.0
