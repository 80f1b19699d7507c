"""Rules for MySQL's error log."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.errorlog import LogRules

RULES = LogRules.of(
    error=r"^mysqld: .*rror",
    damage="tablespace .*not found|Cannot find space",
    harmless=[
        # Components of the primary that the node deliberately does not load.
        r"Cannot load component|Component infrastructure|mysql_component_|MY-013129",
        # Errors of replication are classified from its status.
        r"\[Repl\]|Replica (SQL|I/O|worker|receiver)|Worker \d+ failed|[Cc]oordinator",
        r"error (re)?connecting to source",
        r"TLS|SSL|libaio|io_setup|RSA (private|public) key",
        r"MY-011071|MY-013946",
        # DISCARD TABLESPACE for a table that has none any more, as on the primary.
        r"Cannot delete tablespace \d+ in DISCARD TABLESPACE",
    ],
    aftermath="Data Dictionary initialization failed|Failed to initialize DD Storage Engine"
    "|Plugin initialization aborted|Failed to initialize builtin plugins"
    "|Database page corruption on disk or a failed|designated data directory",
    prefix=r"^\d{4}-\d\d-\d\dT[\d:.]+Z \d+ ",
)
