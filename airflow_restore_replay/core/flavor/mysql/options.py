"""The command line of a node's ``mysqld``: options that isolate it, and its settings for replay and for snapshots."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_restore_replay.core.flavor.server_process import relay_dir
from airflow_restore_replay.core.flavor.values import ServerLayout

#: plugins that cannot access anything outside the data directory. All others (UDFs, authentication, auditing) are not
#: linked into the node's plugin directory and so cannot be loaded. CLONE fills the node; 9.x needs the cache to start.
SAFE_PLUGINS = ("mysql_clone.so", "component_reference_cache.so", "component_classic_hashing.so")

_REDO_REPLAYING_BYTES = 256 * 2**20
#: InnoDB's minimum; the redo log is part of every snapshot
REDO_AT_REST_BYTES = 8 * 2**20
#: files of a node without data: redo log, and the system's and undo's tablespaces (measured on 9.7)
EMPTY_NODE_BYTES = _REDO_REPLAYING_BYTES + 96 * 2**20


def server_options(
    layout: ServerLayout, *, socket: Path, init_file: Path, replaying: bool, release: str
) -> list[str]:
    """Return all options after the program's name."""
    return [
        "--no-defaults",
        *run_as(),
        *_places(layout, socket),
        f"--init-file={init_file}",
        f"--server-id={layout.server_id}",
        *ISOLATION,
        *_REPLICATION,
        f"--innodb-buffer-pool-size={layout.buffer_pool_bytes}",
        "--innodb-buffer-pool-load-at-startup=OFF",
        "--innodb-buffer-pool-dump-at-shutdown=OFF",
        # The performance_schema tables for replication and CLONE need no instruments.
        "--performance-schema-instrument=%=OFF",
        *_redo(release, _REDO_REPLAYING_BYTES if replaying else REDO_AT_REST_BYTES),
        *(_REPLAYING if replaying else ["--innodb-flush-log-at-trx-commit=1"]),
    ]


def run_as() -> list[str]:
    """Return the option that mysqld requires to run as root; as any other user it needs none."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _places(layout: ServerLayout, socket: Path) -> list[str]:
    relay = relay_dir(layout)
    return [
        f"--datadir={layout.datadir}",
        f"--socket={socket}",
        f"--pid-file={layout.run_dir / 'mysqld.pid'}",
        f"--log-error={layout.log_path}",
        f"--tmpdir={layout.tmp_dir}",
        f"--loose-replica-load-tmpdir={layout.tmp_dir}",
        f"--plugin-dir={layout.plugin_dir}",
        f"--secure-file-priv={layout.run_dir / 'closed'}",
        f"--relay-log={relay / 'relay-bin'}",
        f"--relay-log-index={relay / 'relay-bin.index'}",
    ]


def _redo(release: str, size_bytes: int) -> list[str]:
    parts = tuple(int(part) for part in release.split("."))
    if parts >= (8, 0, 30):
        return [f"--innodb-redo-log-capacity={size_bytes}"]
    return [f"--innodb-log-file-size={max(4 * 2**20, size_bytes // 2)}"]


#: no key pairs are generated, because they would be secrets in the data directory
NO_KEYS = [
    "--auto-generate-certs=OFF",
    "--caching-sha2-password-auto-generate-rsa-keys=OFF",
    "--loose-sha256-password-auto-generate-rsa-keys=OFF",
]

ISOLATION = [
    "--skip-networking",
    "--loose-mysqlx=OFF",
    "--skip-name-resolve",
    "--read-only=ON",
    "--event-scheduler=OFF",
    "--skip-log-bin",
    "--local-infile=0",
    *NO_KEYS,
    # Persisted variables are the copied server's; a node has none.
    "--persisted-globals-load=OFF",
    # The server ignores DATA DIRECTORY and INDEX DIRECTORY of replicated statements then.
    "--sql-mode=NO_DIR_IN_CREATE",
    # The node must accept every definition that the primary accepted; strict checks would stop the applier.
    "--innodb-strict-mode=OFF",
    "--loose-sql-require-primary-key=OFF",
    "--loose-restrict-fk-on-non-standard-key=OFF",
    "--loose-log-bin-trust-function-creators=ON",
    "--loose-skip-replica-start",
    "--loose-skip-slave-start",
    "--log-error-verbosity=2",
    "--general-log=0",
    "--slow-query-log=0",
    "--default-time-zone=SYSTEM",
    "--character-set-server=utf8mb4",
    "--max-connections=64",
]

_REPLICATION = [
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--loose-log-replica-updates=OFF",
    "--relay-log-recovery=ON",
    "--relay-log-purge=ON",
    "--loose-replica-net-timeout=30",
    "--loose-replica-max-allowed-packet=1073741824",
    "--max-allowed-packet=1073741824",
    "--loose-replica-transaction-retries=10",
    "--loose-replica-sql-verify-checksum=ON",
    "--loose-replica-preserve-commit-order=ON",
    # Each row event of the primary must be applied or stop the applier; no error is skipped or ignored.
    "--loose-replica-exec-mode=STRICT",
    "--loose-replica-type-conversions=",
    "--sync-relay-log=0",
]

_REPLAYING = ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF"]
