"""The command line of a node's ``mariadbd``: options that isolate it, and its settings for replay and for snapshots."""

from __future__ import annotations

from pathlib import Path

from airflow_restore_replay.core.flavor.mariadb.variables import VARIABLES
from airflow_restore_replay.core.flavor.server_options import common_options, relay_dir
from airflow_restore_replay.core.flavor.values import ServerLayout

#: plugins that cannot access anything outside the data directory; all others (FEDERATED, SPIDER, CONNECT, S3, UDFs,
#: PAM) are not linked into the node's plugin directory and so cannot be loaded. Those of authentication run at a login.
SAFE_PLUGINS = (*(f"{name}.so" for name in VARIABLES.plugins), "provider_*.so", "type_*.so")

_REDO_REPLAYING_BYTES = 128 * 2**20
#: InnoDB's minimum; the redo log is part of every snapshot
REDO_AT_REST_BYTES = 4 * 2**20
#: files of a node without data: redo log, and the system's and undo's tablespaces (measured on 10.5, 10.11 and 11.8)
EMPTY_NODE_BYTES = _REDO_REPLAYING_BYTES + 64 * 2**20


def server_options(layout: ServerLayout, *, socket: Path, init_file: Path, replaying: bool) -> list[str]:
    """Return all options after the program's name."""
    relay = relay_dir(layout)
    return [
        *common_options(layout, program="mariadbd", socket=socket, init_file=init_file),
        f"--slave-load-tmpdir={layout.tmp_dir}",
        f"--relay-log-info-file={relay / 'relay-log.info'}",
        f"--master-info-file={relay / 'master.info'}",
        *_ISOLATION,
        *_REPLICATION,
        # The redo log cannot shrink below its buffer.
        f"--innodb-log-buffer-size={REDO_AT_REST_BYTES}",
        # Undo of a load extends the system's tablespace; by 64 MB, most of it would be room that a node never uses.
        "--innodb-autoextend-increment=8",
        "--performance-schema=OFF",
        *(_REPLAYING if replaying else _DURABLE),
    ]


#: of a restored copy that people use
COPY = ("--skip-slave-start", "--log-slave-updates")

_ISOLATION = [
    # The server ignores DATA DIRECTORY and INDEX DIRECTORY of replicated statements then, for every engine and for
    # partitions. sql_mode NO_DIR_IN_CREATE does the same but stops the applier with error 1618 (measured).
    "--skip-symbolic-links",
    "--sql-mode=",
    "--skip-slave-start",
    "--log-warnings=2",
    "--skip-external-locking",
    # The node must accept each change that the primary accepted.
    "--loose-innodb-read-only-compressed=OFF",
    "--system-versioning-alter-history=KEEP",
]

_REPLICATION = [
    "--log-slave-updates=0",
    "--gtid-strict-mode=0",
    "--slave-net-timeout=30",
    "--slave-max-allowed-packet=1073741824",
    "--slave-transaction-retries=10",
    "--slave-sql-verify-checksum=1",
    # Each row event of the primary must be applied or stop the applier; no error is skipped or ignored.
    "--slave-exec-mode=STRICT",
    "--slave-type-conversions=",
    # Each server gathers statistics of its own, mostly without the binary log; changes by hand may be in the log.
    *(
        f"--replicate-ignore-table=mysql.{name}"
        for name in ("table_stats", "column_stats", "index_stats", "innodb_table_stats", "innodb_index_stats")
    ),
]

_REPLAYING = [
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-innodb-doublewrite",
    f"--innodb-log-file-size={_REDO_REPLAYING_BYTES}",
    "--sync-relay-log=0",
    "--sync-master-info=0",
    "--sync-relay-log-info=0",
    "--sync-frm=0",
]

_DURABLE = ["--innodb-flush-log-at-trx-commit=1", f"--innodb-log-file-size={REDO_AT_REST_BYTES}"]
