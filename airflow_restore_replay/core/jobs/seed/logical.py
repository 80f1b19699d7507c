"""Seed over the SQL port: ``mariadb-dump | mariadb``, from one snapshot, with its exact GTID."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from airflow_restore_replay.core.errors import SeedFailed, UnsupportedTables
from airflow_restore_replay.core.flavor.base import Conn, Endpoint, Flavor, NodeServer, Position
from airflow_restore_replay.core.flavor.mariadb import dump, tables
from airflow_restore_replay.core.flavor.mariadb.connect import identifier, rows, run
from airflow_restore_replay.core.flavor.mariadb.optionfile import option_file
from airflow_restore_replay.core.flavor.mariadb.server import MariaDbServer
from airflow_restore_replay.core.jobs.seed.pipe import pipe

XA_WAIT_S = 120.0
_LOCK_WAIT_S = 60


def seed_logical(
    flavor: Flavor,
    server: NodeServer,
    primary: Endpoint,
    *,
    secrets_dir: Path,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Position:
    """Fill an empty node from *primary*; the node's server runs afterwards and has executed the position.

    Tables without snapshots (MyISAM, Aria, …) are kept from changing while the dump runs; InnoDB is not
    locked. DDL during the dump may fail it or the replay after it; both are tried again.

    :param progress: called with (streamed, estimated) bytes.
    :raises UnsupportedTables: the format cannot carry some tables.
    :raises PrimaryUnreachable, ReplicationDenied, SourceCorrupt: by what the dump reports.
    :raises SeedFailed: for any other reason, prepared XA transactions among them.
    """
    assert isinstance(server, MariaDbServer)
    if not server.alive():
        server.initialize()
        server.start(replaying=True)
    with contextlib.closing(flavor.connect(primary)) as guard:
        refuse_unsupported(flavor, guard)
        _await_no_xa(guard, cancelled)
        total = tables.data_bytes(guard)
        with _still(flavor, guard):
            position = _copy(server, primary, secrets_dir, lambda done: progress(done, total), cancelled)
    with contextlib.closing(server.connect()) as node:
        executed = flavor.executed_position(node)
    if str(executed) != str(position):
        raise SeedFailed(f"The node's position is {executed} after a load of {position}.")
    return position


def refuse_unsupported(flavor: Flavor, primary: Conn) -> None:
    """:raises UnsupportedTables: naming them."""
    found = flavor.unsupported_tables(primary)
    if found:
        named = "; ".join(f"{name} ({why})" for name, why in list(found.items())[:20])
        raise UnsupportedTables(f"{len(found)} tables cannot be carried: {named}.")


def _copy(
    server: MariaDbServer,
    primary: Endpoint,
    secrets_dir: Path,
    progress: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> Position:
    account = server.account_sql()

    def trailer(tail: bytes) -> bytes:
        # The load replaced the account tables, the agent's own row included; this session outlives that.
        return f"\nSET GLOBAL gtid_slave_pos='{dump.dumped_position(tail)}';\n{account}".encode()

    with (
        option_file(primary, secrets_dir) as source_options,
        option_file(server.endpoint(), secrets_dir) as sink_options,
    ):
        done = pipe(
            dump.dump_command(server.program("mariadb-dump"), source_options),
            dump.load_command(server.program("mariadb"), sink_options),
            progress=progress,
            cancelled=cancelled,
            trailer=trailer,
        )
    # A sink that failed ends the source, too, by SIGKILL; then the sink knows the reason.
    if done.sink_status > 0:
        raise dump.load_error(done.sink_status, done.sink_stderr)
    if done.source_status:
        raise dump.dump_error(done.source_status, done.source_stderr)
    if done.sink_status:
        raise dump.load_error(done.sink_status, done.sink_stderr)
    return dump.dumped_position(done.tail)


def _await_no_xa(primary: Conn, cancelled: Callable[[], bool]) -> None:
    """A transaction prepared before the snapshot and committed after it would be missing on the node."""
    deadline = time.monotonic() + XA_WAIT_S
    while prepared := rows(primary, "XA RECOVER"):
        if time.monotonic() > deadline or cancelled():
            raise SeedFailed(
                f"The primary has {len(prepared)} prepared XA transactions since {XA_WAIT_S:.0f} s.",
                hint="Commit or roll them back (XA RECOVER lists them), or use a physical seed.",
            )
        time.sleep(0.5)


@contextlib.contextmanager
def _still(flavor: Flavor, guard: Conn) -> Iterator[None]:
    """Keep tables without snapshots as they are, so that one GTID describes all tables of the dump."""
    loose = [table for table in flavor.tables(guard) if not table.mvcc and table.engine != "MEMORY"]
    if loose:
        names = ", ".join(f"{identifier(t.schema)}.{identifier(t.name)} READ" for t in loose)
        run(guard, f"SET SESSION lock_wait_timeout={_LOCK_WAIT_S}, wait_timeout=604800")
        run(guard, f"LOCK TABLES {names}")
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            run(guard, "UNLOCK TABLES")
