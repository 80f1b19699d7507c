"""The command line of a node's ``mariadbd``: options that isolate it, and its settings for replay and for snapshots."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_restore_replay.core.flavor.server_process import relay_dir
from airflow_restore_replay.core.flavor.values import ServerLayout

#: plugins that cannot access anything outside the data directory; all others (FEDERATED, SPIDER, CONNECT, S3, UDFs,
#: authentication) are not linked into the node's plugin directory and so cannot be loaded
SAFE_PLUGINS = ("ha_archive.so", "ha_blackhole.so", "provider_*.so", "type_*.so")

_REDO_REPLAYING_BYTES = 128 * 2**20
#: InnoDB's minimum; the redo log is part of every snapshot
REDO_AT_REST_BYTES = 4 * 2**20
#: files of a node without data: redo log, and the system's and undo's tablespaces (measured on 10.5, 10.11 and 11.8)
EMPTY_NODE_BYTES = _REDO_REPLAYING_BYTES + 64 * 2**20


def server_options(layout: ServerLayout, *, socket: Path, init_file: Path, replaying: bool) -> list[str]:
    """Return all options after the program's name."""
    relay = relay_dir(layout)
    return [
        "--no-defaults",
        *run_as(),
        *_places(layout, socket, relay),
        f"--init-file={init_file}",
        f"--server-id={layout.server_id}",
        *_ISOLATION,
        *_REPLICATION,
        f"--innodb-buffer-pool-size={layout.buffer_pool_bytes}",
        # The redo log cannot shrink below its buffer.
        f"--innodb-log-buffer-size={REDO_AT_REST_BYTES}",
        "--innodb-buffer-pool-load-at-startup=OFF",
        "--innodb-buffer-pool-dump-at-shutdown=OFF",
        "--performance-schema=OFF",
        *(_REPLAYING if replaying else _DURABLE),
    ]


def run_as() -> list[str]:
    """Return the option that mariadbd requires to run as root; as any other user it needs none."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _places(layout: ServerLayout, socket: Path, relay: Path) -> list[str]:
    return [
        f"--datadir={layout.datadir}",
        f"--socket={socket}",
        f"--pid-file={layout.run_dir / 'mariadbd.pid'}",
        f"--log-error={layout.log_path}",
        f"--tmpdir={layout.tmp_dir}",
        f"--slave-load-tmpdir={layout.tmp_dir}",
        f"--plugin-dir={layout.plugin_dir}",
        f"--secure-file-priv={layout.run_dir / 'closed'}",
        f"--relay-log={relay / 'relay-bin'}",
        f"--relay-log-index={relay / 'relay-bin.index'}",
        f"--relay-log-info-file={relay / 'relay-log.info'}",
        f"--master-info-file={relay / 'master.info'}",
    ]


_ISOLATION = [
    "--skip-networking",
    "--skip-name-resolve",
    "--read-only=1",
    "--event-scheduler=OFF",
    "--skip-log-bin",
    "--local-infile=0",
    # The server ignores DATA DIRECTORY and INDEX DIRECTORY of replicated statements then, for every engine and for
    # partitions. sql_mode NO_DIR_IN_CREATE does the same but stops the applier with error 1618 (measured).
    "--skip-symbolic-links",
    "--sql-mode=",
    # The node must accept every definition that the primary accepted; strict checks would stop the applier.
    "--innodb-strict-mode=OFF",
    "--skip-slave-start",
    "--log-warnings=2",
    "--general-log=0",
    "--slow-query-log=0",
    "--default-time-zone=SYSTEM",
    "--character-set-server=utf8mb4",
    "--max-connections=64",
    "--skip-external-locking",
]

_REPLICATION = [
    "--log-slave-updates=0",
    "--gtid-strict-mode=0",
    "--relay-log-recovery=1",
    "--relay-log-purge=1",
    "--slave-net-timeout=30",
    "--slave-max-allowed-packet=1073741824",
    "--max-allowed-packet=1073741824",
    "--slave-transaction-retries=10",
    "--slave-sql-verify-checksum=1",
    # Each row event of the primary must be applied or stop the applier; no error is skipped or ignored.
    "--slave-exec-mode=STRICT",
    "--slave-type-conversions=",
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
