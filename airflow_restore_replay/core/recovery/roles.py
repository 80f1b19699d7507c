"""What a restored copy becomes: a copy to read, a replica of another server, or the next primary."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_restore_replay.core.errors import CatchUpStalled, PositionMismatch
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.quoting import joined
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, run
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, position_text
from airflow_restore_replay.core.recovery.restore import event_statements
from airflow_restore_replay.core.repository.format.records import Manifest

#: seconds in which a replica's threads must have connected
_CONNECT_S = 60.0
_PAUSE_S = 0.1
_NAMES_SHOWN = 20


@dataclass
class Role:
    """What was done to a copy.

    :param events: that are enabled now.
    :param warnings: what a person should look at, above all about accounts.
    """

    events: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def refuse_other_position(flavor: Flavor, copy: Conn, expected: str) -> None:
    """Raise unless the copy has executed exactly what its backup records.

    :raises PositionMismatch: it has executed something else.
    """
    found = str(flavor.executed_position(copy))
    if found != str(flavor.parse_position(expected)):
        raise PositionMismatch(
            f"The restored server's position is {position_text(found)}; its backup records {position_text(expected)}.",
            evidence={"expected": expected, "observed": found},
        )


def become_primary(flavor: Flavor, copy: Conn, manifest: Manifest, position: str) -> Role:
    """Let the copy take the place of the primary: events as they were there, and nothing left of replication.

    :param position: what the copy contains.
    """
    run(copy, "SET SESSION sql_log_bin = 0")
    flavor.become_primary(copy, flavor.parse_position(position))
    role = Role(warnings=account_warnings(copy))
    for statement in event_statements(manifest.event_states):
        run(copy, statement.rstrip(";"))
        role.events.append(statement)
    if role.events:
        run(copy, "SET GLOBAL event_scheduler = ON")
    return role


def become_replica(
    flavor: Flavor, copy: Conn, source: Endpoint, *, cancelled: Callable[[], bool] = lambda: False
) -> Role:
    """Let the copy replicate from *source*, from its exact position, and wait until it is connected.

    :raises RestoreReplayError: the source refuses the account, or lacks what the copy needs next.
    :raises CatchUpStalled: the copy is not connected in time; it goes on trying.
    """
    flavor.become_replica(copy, source)
    deadline = time.monotonic() + _CONNECT_S
    while not cancelled():
        status = flavor.replication_status(copy)
        if status.error:
            raise status.error
        if status.io_running and status.applier_running:
            break
        if time.monotonic() > deadline:
            raise CatchUpStalled(
                f"The copy is not connected to {source} after {_CONNECT_S:.0f} s. It runs, and goes on trying.",
                hint="Look at SHOW REPLICA STATUS there.",
            )
        time.sleep(_PAUSE_S)
    return Role(warnings=account_warnings(copy))


def account_warnings(copy: Conn) -> list[str]:
    """Return what is wrong with the accounts: plugins that the copy lacks, and definers that are no account."""
    loaded = rows(
        copy,
        "SELECT PLUGIN_NAME FROM information_schema.PLUGINS"
        " WHERE PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_STATUS = 'ACTIVE'",
    )
    plugins = {str(name) for (name,) in loaded}
    listed = rows(copy, "SELECT user, host, plugin FROM mysql.user")
    barred = [
        f"{user}@{host} ({plugin})" for user, host, plugin in listed if plugin and plugin not in plugins
    ]
    found = []
    if barred:
        found.append(
            f"{len(barred)} accounts cannot log in, because this server lacks their plugin: "
            + ", ".join(sorted(barred)[:_NAMES_SHOWN])
        )
    accounts = {f"{user}@{host}" for user, host, _ in listed} | {str(user) for user, _, _ in listed}
    if orphans := sorted({f"{what} ({who})" for what, who in _definers(copy) if who not in accounts}):
        found.append(
            f"{len(orphans)} objects have a definer that is no account: {', '.join(orphans[:_NAMES_SHOWN])}"
        )
    return found


def _definers(copy: Conn) -> list[tuple[str, str]]:
    queries = (
        ("view", "TABLE_SCHEMA, TABLE_NAME, DEFINER FROM information_schema.VIEWS"),
        ("routine", "ROUTINE_SCHEMA, ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES"),
        ("trigger", "TRIGGER_SCHEMA, TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS"),
        ("event", "EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS"),
    )
    found = []
    for kind, query in queries:
        schema_column = query.partition(",")[0]
        for schema, name, definer in rows(
            copy, f"SELECT {query} WHERE {schema_column} NOT IN {SYSTEM_SCHEMAS}"
        ):
            found.append((f"{kind} {joined(schema, name)}", str(definer)))
    return found
