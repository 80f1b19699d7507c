"""Rules for MariaDB's error log."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.errorlog import LogRules

RULES = LogRules.of(
    error=r"^mariadbd: .*rror|^InnoDB: .*(fail|rror)",
    damage="Could not find a valid tablespace",
    harmless=[
        r"Function '.*' is not defined|Can't open the mysql\.(plugin|func) table",
        r"Unknown/unsupported storage engine",
        # Errors of replication are classified from its status.
        r"Slave (SQL|I/O|worker)|Slave I/O|Slave:|replication",
        r"Error reading packet from server|Master '|error (re)?connecting to master",
        # System tables of another minor release; a restored copy is not upgraded.
        r"Incorrect definition of table mysql\.|mysql_upgrade|mariadb-upgrade|mariadb_upgrade",
        r"Missing system table mysql\.roles_mapping",
        r"SSL error|Failed to setup SSL|liburing",
    ],
    aftermath="Failed to initialize plugins",
    prefix=r"^\d{4}-\d\d-\d\d +[\d:]+ +\d+ +",
)
