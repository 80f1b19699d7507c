"""Read and stop a node's replication, as far as all flavors do it alike.

Statements and columns of older releases, and of MariaDB, say SLAVE and MASTER; this package says replica and source.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow_restore_replay.core.errors import AnswerUnreadable, CatchUpStalled, RestoreReplayError
from airflow_restore_replay.core.flavor import memory_tables
from airflow_restore_replay.core.flavor.classify import ErrorRules
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn, Position, ReplicationStatus

CONNECT_RETRY_S = 2
_TEMP_TABLE_TRIES = 20


def stop_replication(node: Conn, *, replica: str, status: str) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.stop_replication`.

    :param replica: the word in STOP and START.
    :param status: the word that names of status variables begin with.
    """
    for attempt in range(_TEMP_TABLE_TRIES):
        run(node, f"STOP {replica} SQL_THREAD")
        found = rows(node, f"SHOW GLOBAL STATUS LIKE '{status}_open_temp_tables'")
        kept_open = int(found[0][1]) if found else 0
        if not kept_open:
            run(node, f"STOP {replica}")
            return
        if attempt + 1 < _TEMP_TABLE_TRIES:
            run(node, f"START {replica} SQL_THREAD")
            time.sleep(0.5)
    raise CatchUpStalled(
        f"The replication stream keeps {kept_open} temporary tables open; a snapshot would lose them.",
        hint="Use binlog_format=ROW on the primary, or let the node replicate further and try again.",
    )


def in_new_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of replication's status with the names of newer releases."""
    return {name.replace("Slave_", "Replica_").replace("Master", "Source"): v for name, v in row.items()}


def understood(read: Callable[[Conn], ReplicationStatus]) -> Callable[[Conn], ReplicationStatus]:
    """Let a status that no server gives be an error of the package.

    The node's server runs statements of the primary's users, so its answers are as little trusted as theirs.
    """

    @functools.wraps(read)
    def wrapper(node: Conn) -> ReplicationStatus:
        try:
            return read(node)
        except AnswerUnreadable:
            raise
        except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as exc:
            raise AnswerUnreadable(
                f"The status of the node's replication is not readable ({type(exc).__name__}: {exc})."
            ) from exc

    return wrapper


def unconfigured(applied: Position) -> ReplicationStatus:
    """Return the status of a node without replication."""
    return ReplicationStatus(
        applied=applied,
        io_running=False,
        io_connecting=False,
        applier_running=False,
        progress=(str(applied),),
        transactions=0,
        received=applied,
    )


def status_of(
    row: Mapping[str, Any],
    *,
    applied: Position,
    received: Position,
    arriving: str,
    progress: Iterable[Any],
    transactions: int,
    error: RestoreReplayError | None,
) -> ReplicationStatus:
    """Return the status that a row of SHOW REPLICA STATUS describes.

    :param row: in new words.
    :param arriving: what the receiver has received since its start.
    :param progress: counters that change while one long event is applied, when the positions do not.
    """
    lag = row.get("Seconds_Behind_Source")
    return ReplicationStatus(
        applied=applied,
        io_running=row["Replica_IO_Running"] == "Yes",
        io_connecting=row["Replica_IO_Running"] in ("Connecting", "Preparing"),
        applier_running=row["Replica_SQL_Running"] == "Yes",
        progress=(str(applied), row["Exec_Source_Log_Pos"], row["Relay_Log_Pos"], *progress),
        transactions=transactions,
        received=received,
        arriving=(arriving, row["Read_Source_Log_Pos"]),
        lag_s=None if lag is None else float(lag),
        error=error,
    )


def counters(node: Conn, names: str) -> list[Any]:
    """Return the status variables *names*, an SQL list."""
    return [count for _, count in rows(node, f"SHOW GLOBAL STATUS WHERE variable_name IN ({names})")]


def error_of(
    node: Conn,
    row: Mapping[str, Any],
    applied: Position,
    rules: ErrorRules,
    of_worker: Callable[[int, str], tuple[int, str]] = lambda number, text: (number, text),
) -> RestoreReplayError | None:
    """Return the error that stopped a thread, unless the thread retries by itself.

    :param of_worker: finds number and text of a worker's error by those of the coordinator's.
    """
    number, text = int(row["Last_SQL_Errno"]), str(row["Last_SQL_Error"])
    if number and row["Replica_SQL_Running"] == "No":
        place = f"{row['Relay_Source_Log_File']}:{row['Exec_Source_Log_Pos']}"
        error = rules.applier_error(*of_worker(number, text), f"{place} after {str(applied) or 'nothing'}")
        return memory_tables.cause_of(error, node)
    number, text = int(row["Last_IO_Errno"]), str(row["Last_IO_Error"])
    if not number or row["Replica_IO_Running"] == "Yes":
        return None
    # A network error is transient: the thread retries by itself. If the connection was lost during the handshake, the
    # thread stops, and the job that watches it starts it again. Only an error that no retry can resolve is reported.
    return None if rules.passes(number, text) else rules.io_error(number, text)
