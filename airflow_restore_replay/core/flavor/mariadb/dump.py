"""``mariadb-dump``: its command lines, the position in its output, and the classification of its errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pymysql

from airflow_restore_replay.core.errors import SeedFailed
from airflow_restore_replay.core.flavor.carry.objects import Objects
from airflow_restore_replay.core.flavor.carry.reading import VIRTUAL, Rules, without_rows
from airflow_restore_replay.core.flavor.dump_errors import DumpErrors
from airflow_restore_replay.core.flavor.examination import Wanted, examine_primary
from airflow_restore_replay.core.flavor.findings import refuse
from airflow_restore_replay.core.flavor.mariadb import grants, tables
from airflow_restore_replay.core.flavor.mariadb.connect import connect
from airflow_restore_replay.core.flavor.mariadb.examinations import HISTORY
from airflow_restore_replay.core.flavor.mariadb.gtid import MariaDbPosition
from airflow_restore_replay.core.flavor.mariadb.identity import series_of
from airflow_restore_replay.core.flavor.mariadb.server import MariaDbServer
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.quoting import qualified
from airflow_restore_replay.core.flavor.seeding import Hold
from airflow_restore_replay.core.flavor.session import LOADING, SESSION, inherited
from airflow_restore_replay.core.flavor.sql import dicts, rows, run, value
from airflow_restore_replay.core.flavor.tables import data_bytes
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position

_LOCK_WAIT_S = 60
_NO_RELOAD = 1227
_GTID = re.compile(rb"^(?:-- )?SET GLOBAL gtid_slave_pos='([0-9,\- ]*)';", re.MULTILINE)
#: begins the rows; the dump has opened its snapshot before
_FIRST_ROWS = b"\nUSE `"
#: upper limit of a dump's head before its first database, which has only options and the position
_HEAD_BYTES = 16 * 2**10
_RULES = Rules(
    foreign=frozenset(VIRTUAL),
    roles="SELECT User FROM mysql.user WHERE is_role = 'Y'",
    own_tables=frozenset(
        {
            # The node replicates from the snapshot's GTID, not from the position that the primary had as a replica.
            "gtid_slave_pos",
            # The node's optimizer computes these again.
            "innodb_index_stats",
            "innodb_table_stats",
            "transaction_registry",
            "general_log",
            "slow_log",
        }
    ),
    # Rows keep routines and events byte for byte, with their times and states.
    in_rows={"proc": (), "event": ("last_executed",)},
)


def dump_command(
    program: str, options: Path, schemas: Sequence[str], *, history: bool, limited: bool = False
) -> list[str]:
    """Return argv that dumps the rows of *schemas* from one snapshot, with its exact GTID.

    :param history: dump history rows, too; whether the program can, see :data:`tables.DUMPS_HISTORY`.
    :param limited: the server limits every SELECT that names no limit.
    """
    return [
        program,
        f"--defaults-file={options}",
        "--single-transaction",
        "--skip-lock-tables",
        # A table that is locked for writing cannot use a sequence in its default.
        "--skip-add-locks",
        "--master-data=2",
        "--gtid",
        *(["--dump-history"] if history else []),
        # Text of users would come into the stream otherwise, and the client reads it in another way than the server.
        "--no-create-db",
        "--no-create-info",
        "--skip-triggers",
        "--skip-comments",
        *([f"--where=1 LIMIT {2**64 - 1}"] if limited else []),
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
        f"--init-command={LOADING}, innodb_strict_mode=0, unique_checks=0, check_constraint_checks=0",
    ]


def dumped_position(tail: bytes, head: bytes = b"") -> MariaDbPosition:
    """Return the position of a dump.

    :param tail: the end of the dump, where its position is written.
    :param head: the beginning of the dump; older releases write the position there, before the first database.
    :raises SeedFailed: the dump has no position.
    """
    found = _GTID.findall(head.partition(_FIRST_ROWS)[0]) or _GTID.findall(tail)
    if not found:
        raise SeedFailed("The dump names no GTID.", hint="The primary must write a binary log.")
    return MariaDbPosition.parse(found[-1].decode(errors="replace"))


def begin_readable_log(primary: Conn) -> None:
    """Rotate the primary's binary log if mariadb-dump would crash because of it.

    The dump reads its position from ``BINLOG_GTID_POS``. After an event that is larger than max_allowed_packet, that
    function returns NULL, and mariadb-dump (10.11) crashes.

    :raises SeedFailed: the account may not rotate it.
    """
    for row in dicts(primary, "SHOW MASTER STATUS"):
        if rows(primary, "SELECT BINLOG_GTID_POS(%s, %s)", (row["File"], row["Position"]))[0][0] is not None:
            return
        try:
            run(primary, "FLUSH BINARY LOGS")
        except pymysql.err.MySQLError as exc:
            raise SeedFailed(
                f"mariadb-dump cannot determine its position: {row['File']} has an event that is larger than the "
                f"primary's max_allowed_packet ({exc}).",
                hint="Run on the primary: FLUSH BINARY LOGS; or grant the account RELOAD.",
            ) from exc


class MariaDbDump(DumpErrors):
    """See :class:`~airflow_restore_replay.core.flavor.seeding.DumpTools`."""

    programs = ("mariadb-dump", "mariadb")
    denied_numbers = DumpErrors.denied_numbers | {1143}
    gone_numbers = DumpErrors.gone_numbers | {1927}

    def data_bytes(self, primary: Conn) -> int:
        return data_bytes(primary)

    def prepared(self, primary: Conn) -> int:
        return len(rows(primary, "XA RECOVER"))

    @contextlib.contextmanager
    def hold(self, primary: Endpoint) -> Iterator[_Hold]:
        """Lock tables without snapshots against writers, so that one GTID describes all tables of the dump."""
        with contextlib.closing(connect(primary)) as guard:
            loose = [t for t in tables.tables(guard) if not t.mvcc and t.engine != "MEMORY"]
            if loose:
                _lock(guard, [qualified(t.schema, t.name) for t in loose])
            yield _Hold()

    def rules(self, primary: Conn) -> Rules:
        return _RULES

    def prepare(self, server: NodeServer, primary: Conn) -> dict[str, str]:
        wanted = Wanted(seed="logical", keep_s=0, node_release=server.release())
        refuse(examine_primary(primary, wanted, [HISTORY], privileges_of=grants.held), seeding=True)
        begin_readable_log(primary)
        return {}

    @contextlib.contextmanager
    def commands(
        self, server: NodeServer, primary: Endpoint, secrets_dir: Path, objects: Objects
    ) -> Iterator[tuple[list[str], list[str]]]:
        assert isinstance(server, MariaDbServer)
        ignored = without_rows(objects, _RULES)
        series = series_of(server.release())
        session = SESSION if series >= tables.TAKES_SESSION else ""
        with (
            option_file(primary, secrets_dir, tls_options, ignored_tables=ignored, session=session) as source,
            option_file(server.endpoint(), secrets_dir, tls_options) as sink,
        ):
            yield (
                dump_command(
                    server.program("mariadb-dump"),
                    source,
                    [schema.schema for schema in objects.schemas],
                    history=series >= tables.DUMPS_HISTORY,
                    limited=not session and _limited(primary),
                ),
                load_command(server.program("mariadb"), sink),
            )

    def finish(self, server: NodeServer, node: Conn, hold: Hold, position: Position) -> dict[str, Any]:
        assert isinstance(server, MariaDbServer)
        run(node, "SET GLOBAL gtid_slave_pos = %s", (str(position),))
        server.create_account_again(node)
        return {}


def _limited(primary: Endpoint) -> bool:
    """Return whether the server limits every SELECT of a session that does not say otherwise."""
    with contextlib.closing(connect(primary)) as conn:
        return int(value(conn, f"SELECT {inherited('sql_select_limit')}")) != 2**64 - 1


def _lock(guard: Conn, names: Sequence[str]) -> None:
    """Lock tables against writers.

    LOCK TABLES is the second choice: writers that wait for it queue at the table itself and block later readers there,
    including the dump.
    """
    run(guard, f"SET SESSION lock_wait_timeout={_LOCK_WAIT_S}")
    try:
        run(guard, f"FLUSH TABLES {', '.join(names)} WITH READ LOCK")
    except pymysql.err.OperationalError as exc:
        if exc.args[0] != _NO_RELOAD:
            raise
        run(guard, f"LOCK TABLES {', '.join(f'{name} READ' for name in names)}")


class _Hold:
    def __init__(self) -> None:
        self._head = b""

    def seen(self, block: bytes) -> bool:
        if len(self._head) < _HEAD_BYTES:
            self._head += block[: _HEAD_BYTES - len(self._head)]
        return _FIRST_ROWS in self._head

    def position(self, tail: bytes) -> MariaDbPosition:
        return dumped_position(tail, self._head)


def tls_options(endpoint: Endpoint) -> dict[str, str]:
    """Return the TLS options of MariaDB's programs for *endpoint*."""
    files = {"ssl-ca": endpoint.ssl_ca, "ssl-cert": endpoint.ssl_cert, "ssl-key": endpoint.ssl_key}
    named = {name: path for name, path in files.items() if path}
    if not endpoint.ssl_ca:
        return {"loose-ssl-verify-server-cert": "0"} | named
    return {"ssl-verify-server-cert": "1"} | named
