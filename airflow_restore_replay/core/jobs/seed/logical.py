"""Seed over the SQL port: a dump of the primary, piped into the node, from one snapshot, with its exact GTID."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.errors import JobCancelled, SeedFailed
from airflow_restore_replay.core.flavor.base import Flavor, NodeServer
from airflow_restore_replay.core.flavor.pipeline import pipe
from airflow_restore_replay.core.flavor.seeding import DumpTools, refuse_unsupported_tables
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position

XA_WAIT_S = 120.0


def seed_logical(
    flavor: Flavor,
    server: NodeServer,
    primary: Endpoint,
    *,
    secrets_dir: Path,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> tuple[Position, dict[str, Any]]:
    """Fill an empty node from *primary*; the node's server runs afterwards and has executed the position.

    Tables without snapshots (MyISAM, Aria, …) are locked against writes while the dump runs. InnoDB is not locked, or
    only until the snapshot is open. DDL during the dump may make the dump fail, or the replay after it; both are
    retried.

    :param progress: called with (streamed, estimated) bytes.
    :returns: the exact position, and notes for the manifest.
    :raises UnsupportedTables: a backup cannot contain some tables.
    :raises PrimaryUnreachable, ReplicationDenied, SourceCorrupt: according to the errors that the dump reports.
    :raises SeedFailed: any other reason, for example prepared XA transactions.
    """
    tools = flavor.dump_tools()
    if not server.alive():
        server.initialize()
        server.start(replaying=True)
    with contextlib.closing(flavor.connect(primary)) as conn:
        refuse_unsupported_tables(flavor, conn)
        _await_no_xa(tools, conn, cancelled)
        total = tools.data_bytes(conn)
        tools.prepare(server, conn)
    position, notes = _copy(
        tools, server, primary, secrets_dir, lambda done: progress(done, total), cancelled
    )
    with contextlib.closing(server.connect()) as node:
        executed = flavor.executed_position(node)
    if str(executed) != str(position):
        raise SeedFailed(f"The node's position is {executed} after a load of {position}.")
    return position, notes


def _copy(
    tools: DumpTools,
    server: NodeServer,
    primary: Endpoint,
    secrets_dir: Path,
    progress: Callable[[int], None],
    cancelled: Callable[[], bool],
) -> tuple[Position, dict[str, Any]]:
    with tools.hold(primary) as hold, tools.commands(server, primary, secrets_dir) as (dump, load):
        done = pipe(
            dump,
            load,
            progress=progress,
            cancelled=cancelled,
            watch=hold.seen,
            # The load has replaced the account tables, including the agent's own row, but its session stays open.
            trailer=lambda tail: tools.trailer(server, hold.position(tail)),
        )
        # If the load fails, the dump is ended, too, by SIGKILL; then the load's error is the reason.
        if done.sink_status > 0:
            raise tools.load_error(done.sink_status, done.sink_stderr)
        if done.source_status:
            raise tools.dump_error(done.source_status, done.source_stderr)
        if done.sink_status:
            raise tools.load_error(done.sink_status, done.sink_stderr)
        return hold.position(done.tail), tools.finish(server, hold)


def _await_no_xa(tools: DumpTools, primary: Conn, cancelled: Callable[[], bool]) -> None:
    """Wait until the primary has no prepared XA transactions.

    A transaction that is prepared before the snapshot and committed after it would be missing on the node.

    :raises SeedFailed: there still are some after ``XA_WAIT_S`` seconds.
    :raises JobCancelled: the job was cancelled meanwhile.
    """
    deadline = time.monotonic() + XA_WAIT_S
    while (prepared := tools.prepared(primary)) > 0:
        if cancelled():
            raise JobCancelled("The seed was cancelled.")
        if time.monotonic() > deadline:
            raise SeedFailed(
                f"The primary has {prepared} prepared XA transactions since {XA_WAIT_S:.0f} s.",
                hint="Commit or roll them back (XA RECOVER lists them), or use another seed.",
            )
        time.sleep(0.5)
