"""``mysqldump``: its command lines, the classification of its errors, and the position of its snapshot."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql

from airflow_restore_replay.core.errors import SeedFailed
from airflow_restore_replay.core.flavor.carry.objects import Objects
from airflow_restore_replay.core.flavor.carry.reading import VIRTUAL, Rules, without_rows
from airflow_restore_replay.core.flavor.dump_errors import DumpErrors
from airflow_restore_replay.core.flavor.mysql import accounts, extras, snapshot, tables
from airflow_restore_replay.core.flavor.mysql.connect import connect, release
from airflow_restore_replay.core.flavor.mysql.dialect import dialect
from airflow_restore_replay.core.flavor.mysql.gtid import MySqlPosition
from airflow_restore_replay.core.flavor.mysql.server import MySqlServer
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.quoting import identifier, qualified
from airflow_restore_replay.core.flavor.seeding import Hold
from airflow_restore_replay.core.flavor.session import LOADING, SESSION
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.tables import data_bytes
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position

_LOCK_WAIT_S = 60
#: the dump prints this after it has opened its snapshot, and before any row
_SNAPSHOT_IS_OPEN = b"\nUSE `"
_NO_XA_RIGHT = 1401
_RULES = Rules(
    foreign=frozenset({*VIRTUAL, "ndbinfo"}),
    own_tables=frozenset(
        {
            "gtid_executed",
            # The node's optimizer computes these again.
            "innodb_index_stats",
            "innodb_table_stats",
            # The node has replication metadata of its own.
            *(f"slave_{name}_info" for name in ("master", "relay_log", "worker")),
            "plugin",
            "component",
            "general_log",
            "slow_log",
        }
    ),
    kept=frozenset({"sys"}),
    table_mode="NO_DIR_IN_CREATE",
)
# The account tables of a managed service differ from a plain server's, so statements copy its accounts.
_MANAGED = replace(_RULES, foreign=_RULES.foreign | {"mysql", "sys"})


def dump_command(program: str, options: Path, schemas: Sequence[str]) -> list[str]:
    """Return argv that dumps the rows of *schemas* from one snapshot."""
    return [
        program,
        f"--defaults-file={options}",
        "--single-transaction",
        "--skip-lock-tables",
        # mysqldump needs RELOAD to determine an exact GTID set itself, and managed services do not grant that.
        "--set-gtid-purged=OFF",
        # Text of users would come into the stream otherwise, and the client reads it in another way than the server.
        "--no-create-db",
        "--no-create-info",
        "--skip-triggers",
        "--skip-comments",
        # The server's defaults may hide rows and columns; the option is one of newer programs.
        f"--loose-init-command={SESSION}",
        "--quick",
        "--no-tablespaces",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        "--databases",
        "--",
        *schemas,
    ]


def load_command(program: str, options: Path) -> list[str]:
    """Return argv of the client that loads a dump on the node."""
    return [
        program,
        f"--defaults-file={options}",
        "--batch",
        "--binary-mode",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        # Rows of sys.sys_config come as they are.
        f"--init-command={LOADING}, @sys.ignore_sys_config_triggers = TRUE",
    ]


class MySqlDump(DumpErrors):
    """See :class:`~airflow_restore_replay.core.flavor.seeding.DumpTools`."""

    programs = ("mysqldump", "mysql")
    gone_numbers = DumpErrors.gone_numbers | {4031}
    corrupt = f"{DumpErrors.corrupt}|is missing for table"

    def data_bytes(self, primary: Conn) -> int:
        tables.forget_cached_estimates(primary)
        return data_bytes(primary)

    def prepared(self, primary: Conn) -> int:
        try:
            return len(rows(primary, "XA RECOVER"))
        except pymysql.err.MySQLError as exc:
            if exc.args and exc.args[0] in (*self.denied_numbers, _NO_XA_RIGHT):
                return -1
            raise

    @contextlib.contextmanager
    def hold(self, primary: Endpoint) -> Iterator[_Hold]:
        """Block all writers until the dump's snapshot is open, and tables without snapshots until the context ends."""
        with contextlib.ExitStack() as stack:
            held = stack.enter_context(snapshot.held(primary))
            guard = stack.enter_context(contextlib.closing(connect(primary)))
            position = snapshot.primary_position(guard)
            carried = accounts.statements(guard) if accounts.is_managed(guard) else []
            loose = [t for t in tables.tables(guard) if not t.mvcc and t.engine != "MEMORY"]
            if loose:
                names = ", ".join(f"{qualified(t.schema, t.name)} READ" for t in loose)
                run(guard, f"SET SESSION lock_wait_timeout={_LOCK_WAIT_S}")
                run(guard, f"LOCK TABLES {names}")
            yield _Hold(position, held, carried, extras.histograms(guard))

    def rules(self, primary: Conn) -> Rules:
        return _MANAGED if accounts.is_managed(primary) else _RULES

    def prepare(self, server: NodeServer, primary: Conn) -> dict[str, str]:
        """Create what tables refer to: general tablespaces, of which a dump has those of NDB only, and SRS."""
        assert isinstance(server, MySqlServer)
        with contextlib.closing(server.connect()) as node:
            for name, path, block in tables.general_tablespaces(primary):
                run(
                    node,
                    f"CREATE TABLESPACE {identifier(name)} ADD DATAFILE %s FILE_BLOCK_SIZE = {int(block)}"
                    " ENGINE = InnoDB",
                    (path,),
                )
            extras.create_reference_systems(primary, node)
        return extras.left_out(primary)

    @contextlib.contextmanager
    def commands(
        self, server: NodeServer, primary: Endpoint, secrets_dir: Path, objects: Objects
    ) -> Iterator[tuple[list[str], list[str]]]:
        assert isinstance(server, MySqlServer)
        ignored = without_rows(objects, _RULES)
        with (
            option_file(primary, secrets_dir, tls_options, ignored_tables=ignored) as source,
            option_file(server.endpoint(), secrets_dir, tls_options) as sink,
        ):
            yield (
                dump_command(
                    server.program("mysqldump"),
                    source,
                    [schema.schema for schema in objects.schemas],
                ),
                load_command(server.program("mysql"), sink),
            )

    def finish(self, server: NodeServer, node: Conn, hold: Hold, position: Position) -> dict[str, Any]:
        assert isinstance(server, MySqlServer)
        assert isinstance(hold, _Hold)
        left_out = extras.create_histograms(node, hold.histograms)
        run(node, dialect(release(node)).reset_executed)
        run(node, "SET GLOBAL gtid_purged = %s", (str(position),))
        server.create_account_again(node)
        if not hold.accounts:
            return {"left_out": left_out}
        refused = accounts.apply(node, hold.accounts)
        left_out["mysql"] = "schema of a managed service: time zones, help, its own procedures"
        return {"left_out": left_out} | ({"accounts_refused": refused} if refused else {})


class _Hold:
    """See :class:`~airflow_restore_replay.core.flavor.seeding.Hold`."""

    def __init__(
        self,
        position: MySqlPosition,
        held: snapshot.Held,
        accounts: list[str],
        histograms: list[tuple[str, str, str, str]],
    ) -> None:
        self.accounts = accounts
        self.histograms = histograms
        self._position = position
        self._held: snapshot.Held | None = held
        self._read = b""

    def seen(self, block: bytes) -> bool:
        if self._held is None:
            return True
        self._read += block
        if _SNAPSHOT_IS_OPEN in self._read:
            self._held.release()
            self._held, self._read = None, b""
        return self._held is None

    def position(self, tail: bytes) -> MySqlPosition:
        if self._held is not None:
            raise SeedFailed("The dump ended without naming any schema, so that its snapshot is not known.")
        return self._position


def tls_options(endpoint: Endpoint) -> dict[str, str]:
    """Return the TLS options of MySQL's programs for *endpoint*."""
    if endpoint.socket:
        return {}
    files = {"ssl-ca": endpoint.ssl_ca, "ssl-cert": endpoint.ssl_cert, "ssl-key": endpoint.ssl_key}
    named = {name: path for name, path in files.items() if path}
    if not endpoint.ssl_ca:
        # As replication: without TLS, the program would encrypt the password with a key that the other side sends.
        return {"ssl-mode": "REQUIRED"} | named
    return {"ssl-mode": "VERIFY_IDENTITY"} | named
