"""Seed by MySQL's own CLONE over the SQL port: a copy of the primary's InnoDB files at an exact GTID set."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import pymysql

from airflow_restore_replay.core.errors import JobCancelled, NodeServerCrashed, SeedFailed
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.mysql import clone
from airflow_restore_replay.core.flavor.mysql.server import MySqlServer
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.seeding import refuse_unsupported_tables
from airflow_restore_replay.core.flavor.values import Endpoint, Position, position_text

_POLL_S = 0.5
_STOP_TIMEOUT_S = 600.0
_NAMES_SHOWN = 20


def left_out(flavor: Flavor, primary: Endpoint) -> str:
    """Return why a clone would be incomplete, because tables of other engines arrive empty; ``""`` if it is not."""
    with contextlib.closing(flavor.connect(primary)) as conn:
        others = [t for t in flavor.tables(conn) if not t.mvcc and t.engine != "MEMORY"]
    if not others:
        return ""
    named = ", ".join(f"{t.qualified} ({t.engine})" for t in others[:_NAMES_SHOWN])
    more = f" and {len(others) - _NAMES_SHOWN} more" if len(others) > _NAMES_SHOWN else ""
    return f"CLONE copies InnoDB only: {named}{more}"


def seed_clone(
    flavor: Flavor,
    server: NodeServer,
    primary: Endpoint,
    *,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Position:
    """Fill an empty node from *primary*, and leave the node's server running.

    :param progress: called with (copied, estimated) bytes.
    :returns: the position that the node has executed.
    :raises PreflightFailed, ReleaseRefused: the primary cannot be cloned; the error says what to change.
    :raises PrimaryUnreachable, ReplicationDenied, SourceCorrupt, NodeFull, SeedFailed: depending on CLONE's error.
    """
    assert isinstance(server, MySqlServer)
    with contextlib.closing(flavor.connect(primary)) as donor:
        refuse_unsupported_tables(flavor.unsupported_tables(donor))
        clone.refuse_donor(donor, server.release())
    server.initialize()
    # CLONE needs the redo log. Durability does not matter during a seed and is switched off after the clone.
    server.start(replaying=False)
    _copy(server, primary, progress, cancelled)
    if not server.await_exit(_STOP_TIMEOUT_S):
        raise SeedFailed(f"The node's server did not stop within {_STOP_TIMEOUT_S:.0f} s after CLONE.")
    server.start(replaying=True)
    with contextlib.closing(server.connect()) as node:
        position = clone.cloned_position(node)
        executed = flavor.executed_position(node)
    if str(executed) != str(position):
        raise SeedFailed(
            f"The node's position is {position_text(executed)} after a clone of {position_text(position)}."
        )
    return executed


def _copy(
    server: MySqlServer,
    primary: Endpoint,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> None:
    """Run the statement in a thread, and report its progress until it ends or the job is cancelled."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with contextlib.closing(server.connect()) as node:
                clone.prepare_recipient(node, primary)
                clone.clone_instance(node, primary)
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=work, name="clone", daemon=True)
    thread.start()
    while thread.is_alive():
        if cancelled():
            server.kill()
            thread.join(30)
            raise JobCancelled("The seed was cancelled.")
        _tell(server, progress)
        thread.join(_POLL_S)
    if failures:
        _judge(server, failures[0])


def _tell(server: MySqlServer, progress: Callable[[int, int], None]) -> None:
    # The server stops by itself at the end of the clone, so each query may fail.
    with contextlib.suppress(Exception), contextlib.closing(server.connect()) as node:
        state = clone.progress(node)
        progress(state.done, state.total)


def _judge(server: MySqlServer, exc: BaseException) -> None:
    """Raise the error of a failed clone.

    :raises RestoreReplayError: unless *exc* only says that no supervisor restarts the server.
    """
    if not isinstance(exc, pymysql.err.MySQLError):
        raise exc
    number = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
    if number == clone.RESTART_FAILED:
        return
    time.sleep(_POLL_S)
    if not server.alive():
        raise NodeServerCrashed(f"The node's server died while CLONE ran: {exc}") from exc
    raise clone.clone_error(number, str(exc.args[1] if len(exc.args) > 1 else exc)) from exc
