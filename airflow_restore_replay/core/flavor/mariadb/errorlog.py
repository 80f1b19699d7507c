"""Rules for MariaDB's error log."""

from __future__ import annotations

import re

from airflow_restore_replay.core.flavor.errorlog import LogRules

_ERROR = r"\[ERROR\]|^mariadbd: .*rror|got signal \d+|Assertion .* failed|^InnoDB: .*(fail|rror)"
# InnoDB reports a missing table file as a warning or a note, depending on the release.
_DATA_WARNING = (
    r"(?i:Could not find a valid tablespace|Cannot open datafile|Ignoring tablespace"
    r"|tablespace .*(missing|corrupt)|marked as crashed|is corrupted|checksum mismatch|Missing MLOG)"
)
_HARMLESS = re.compile(
    "|".join(
        [
            # Plugins and UDFs of the primary that the node deliberately does not load.
            r"Can't open shared library",
            r"Couldn't load plugin",
            r"Can't find symbol|Function '.*' is not defined|Can't open the mysql\.(plugin|func) table",
            r"Plugin '.*' (init function returned error|registration as|is disabled)",
            r"Unknown/unsupported storage engine",
            # Errors of replication are classified from its status.
            r"Slave (SQL|I/O|worker)|Slave I/O|Slave:|replication",
            # A lost connection: the primary stopped or restarts.
            r"server_errno=|Error reading packet from server|Lost connection|Master '|error (re)?connecting to master",
            # System tables of another minor release; a restored copy is not upgraded.
            r"Incorrect definition of table mysql\.|mysql_upgrade|mariadb-upgrade|mariadb_upgrade",
            r"Event Scheduler",
            r"Missing system table mysql\.roles_mapping",
            # About the host, not the data.
            r"SSL error|Failed to setup SSL|io_uring|liburing|O_DIRECT|Setting O_DIRECT|native AIO|memlock",
        ]
    )
)
_ENVIRONMENT = re.compile(
    r"No space left|disk is full|Errcode: (28|24|13|12)\b|out of memory|Cannot allocate memory|"
    r"Too many open files|Permission denied|Unable to lock|unknown (option|variable)|Can't change dir",
    re.I,
)

RULES = LogRules(
    error=re.compile(f"{_ERROR}|{_DATA_WARNING}"),
    harmless=_HARMLESS,
    environment=_ENVIRONMENT,
    aftermath=re.compile(r"Aborting|Failed to initialize plugins|Plugin 'InnoDB'"),
    prefix=re.compile(r"^\d{4}-\d\d-\d\d +[\d:]+ +\d+ +"),
)
