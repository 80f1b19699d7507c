"""Rules for MySQL's error log."""

from __future__ import annotations

import re

from airflow_restore_replay.core.flavor.errorlog import LogRules

_ERROR = r"\[ERROR\]|^mysqld: .*rror|got signal \d+|Assertion .*fail"
# InnoDB reports a missing table file as a warning.
_DATA_WARNING = (
    r"(?i:Cannot open datafile|Ignoring tablespace|Tablespace .*(missing|corrupt|not found)|Cannot find space"
    r"|marked as crashed|is corrupted|checksum mismatch|Missing MLOG)"
)
_HARMLESS = re.compile(
    "|".join(
        [
            # Plugins, components and UDFs of the primary that the node deliberately does not load.
            r"Can't open shared library|Couldn't load plugin|Cannot load component|Can't find symbol",
            r"Plugin '.*' (init function returned error|registration as|is disabled)",
            r"Component infrastructure|mysql_component_|MY-013129",
            # Errors of replication are classified from its status.
            r"\[Repl\]|Replica (SQL|I/O|worker|receiver)|Worker \d+ failed|[Cc]oordinator",
            r"Lost connection|server_errno=|error (re)?connecting to source",
            # About the host, not the data.
            r"TLS|SSL|io_uring|libaio|io_setup|O_DIRECT|native AIO|memlock|RSA (private|public) key",
            r"Event Scheduler|MY-011071|MY-013946",
        ]
    )
)
_ENVIRONMENT = re.compile(
    r"No space left|disk is full|Errcode: (28|24|13|12)\b|OS errno (28|24|13|12)\b|out of memory|"
    r"Cannot allocate memory|Too many open files|Permission denied|Unable to lock|unknown (option|variable)|"
    r"Can't change dir",
    re.I,
)

RULES = LogRules(
    error=re.compile(f"{_ERROR}|{_DATA_WARNING}"),
    harmless=_HARMLESS,
    environment=_ENVIRONMENT,
    aftermath=re.compile(
        r"Aborting|Data Dictionary initialization failed|Failed to initialize DD Storage Engine"
        r"|Plugin initialization aborted|Plugin 'InnoDB'|Failed to initialize builtin plugins"
        r"|Database page corruption on disk or a failed|designated data directory"
    ),
    prefix=re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z \d+ "),
)
