"""The command line of a node's ``mysqld``: options that isolate it, and its settings for replay and for snapshots."""

from __future__ import annotations

from pathlib import Path

from airflow_restore_replay.core.flavor.mysql.variables import VARIABLES
from airflow_restore_replay.core.flavor.server_options import common_options
from airflow_restore_replay.core.flavor.values import ServerLayout

#: plugins that cannot access anything outside the data directory. All others (UDFs, LDAP, auditing) are not linked
#: into the node's plugin directory and so cannot be loaded. CLONE fills the node; 9.x needs the cache to start. Those
#: of authentication run at a login.
SAFE_PLUGINS = (
    "mysql_clone.so",
    "component_reference_cache.so",
    "component_classic_hashing.so",
    *(f"{name}.so" for name in VARIABLES.plugins),
)

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
        *common_options(layout, program="mysqld", socket=socket, init_file=init_file),
        f"--loose-replica-load-tmpdir={layout.tmp_dir}",
        *_ISOLATION,
        *_REPLICATION,
        *WITHOUT_INSTRUMENTS,
        *_redo(release, _REDO_REPLAYING_BYTES if replaying else REDO_AT_REST_BYTES),
        *(_REPLAYING if replaying else ["--innodb-flush-log-at-trx-commit=1"]),
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

#: of a restored copy that people use
COPY = (
    "--loose-skip-replica-start",
    "--loose-skip-slave-start",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--loose-mysqlx=OFF",
    # The default is a directory that only the package makes.
    "--secure-file-priv=NULL",
)

_ISOLATION = [
    "--loose-mysqlx=OFF",
    *NO_KEYS,
    # Persisted variables are the copied server's; a node has none.
    "--persisted-globals-load=OFF",
    # The server ignores DATA DIRECTORY and INDEX DIRECTORY of replicated statements then.
    "--sql-mode=NO_DIR_IN_CREATE",
    "--loose-sql-require-primary-key=OFF",
    "--loose-restrict-fk-on-non-standard-key=OFF",
    "--loose-disabled-storage-engines=",
    "--loose-table-encryption-privilege-check=OFF",
    "--loose-mysql-native-password=ON",
    "--loose-log-bin-trust-function-creators=ON",
    "--loose-skip-replica-start",
    "--loose-skip-slave-start",
    "--log-error-verbosity=2",
]

_REPLICATION = [
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--loose-log-replica-updates=OFF",
    "--loose-replica-net-timeout=30",
    "--loose-replica-max-allowed-packet=1073741824",
    "--loose-replica-transaction-retries=10",
    "--loose-replica-sql-verify-checksum=ON",
    "--loose-replica-preserve-commit-order=ON",
    # Each row event of the primary must be applied or stop the applier; no error is skipped or ignored.
    "--loose-replica-exec-mode=STRICT",
    "--loose-replica-type-conversions=",
    "--sync-relay-log=0",
]

#: The performance_schema's tables about replication and CLONE need no instruments. What is for instruments takes half
#: of an idle server's memory, and a third of the time of its start (measured on 9.7).
WITHOUT_INSTRUMENTS = (
    "--performance-schema-instrument=%=OFF",
    *(
        f"--loose-performance-schema-{name}=0"
        for name in (
            "accounts-size",
            "digests-size",
            "error-size",
            "events-stages-history-long-size",
            "events-statements-history-long-size",
            "events-transactions-history-long-size",
            "events-waits-history-long-size",
            "hosts-size",
            "max-digest-length",
            "max-memory-classes",
            "max-statement-classes",
            "users-size",
        )
    ),
)

_REPLAYING = [
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=OFF",
    # The default of 64 MiB is touched at the start.
    "--innodb-log-buffer-size=16777216",
]
