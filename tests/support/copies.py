"""Copies of a primary by a logical seed, and in what they differ from it."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.quoting import qualified
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.server_process import NodeProcess
from airflow_restore_replay.core.flavor.session import SESSION
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn, Position, ServerLayout
from airflow_restore_replay.core.jobs.seed.logical import seed_logical
from tests.support import templates
from tests.support.flavors import KITS
from tests.support.primary import Primary

_TABLES = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE"
_ROUTINES = "SELECT ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES WHERE"
#: kind of objects → where a server lists them
_LISTS = {
    "table": f"{_TABLES} TABLE_TYPE NOT IN ('VIEW', 'SEQUENCE')",
    "view": f"{_TABLES} TABLE_TYPE = 'VIEW'",
    "procedure": f"{_ROUTINES} ROUTINE_TYPE = 'PROCEDURE'",
    "function": f"{_ROUTINES} ROUTINE_TYPE = 'FUNCTION'",
    "trigger": "SELECT TRIGGER_SCHEMA, TRIGGER_NAME FROM information_schema.TRIGGERS",
    "event": "SELECT EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS",
}
_DISABLED = re.compile(rb" DISABLE ON (SLAVE|REPLICA)\b")
_OWN = ("mysql", "sys", "information_schema", "performance_schema")


@dataclass
class Copy:
    """:param server: of the node, running. :param notes: for the manifest."""

    flavor: Flavor
    server: NodeServer
    position: Position
    notes: dict[str, Any]

    @property
    def left_out(self) -> dict[str, str]:
        found: dict[str, str] = self.notes.get("left_out", {})
        return found


def answers(conn: Conn, queries: Iterable[str]) -> dict[str, Any]:
    """Return query → what a server answers in a session with the settings of ours."""
    run(conn, SESSION)
    return {query: rows(conn, query) for query in queries}


@contextlib.contextmanager
def seeded(primary: Primary, root: Path, *, flavor: Flavor | None = None) -> Iterator[Copy]:
    """Seed a node below *root* with the account of the documented grants."""
    flavor = flavor or get_flavor(primary.flavor)
    layout = ServerLayout(
        datadir=root / "data",
        run_dir=root / "run",
        tmp_dir=root / "tmp",
        log_path=root / "error.log",
        plugin_dir=root / "plugins",
        bindir=Path(primary.bindir) if primary.bindir else None,
        buffer_pool_bytes=64 * 2**20,
        primary_port=primary.port,
    )
    server = flavor.server(layout)
    assert isinstance(server, NodeProcess)
    templates.initialize(server)
    try:
        server.start(replaying=True)
        position, notes = seed_logical(
            flavor,
            server,
            primary.endpoint("restore_replay"),
            secrets_dir=root / "secrets",
            progress=lambda done, total: None,
            cancelled=lambda: False,
        )
        yield Copy(flavor, server, position, notes)
    finally:
        server.kill()


def differences(primary: Primary, copy: Copy) -> list[str]:
    """:returns: objects and rows of users that are not the same, as the servers show them, byte for byte."""
    found: list[str] = []
    with primary.connect(use_unicode=False) as theirs, _bytes(copy.server.connect()) as ours:
        for conn in (theirs, ours):
            run(conn, SESSION)
            run(conn, "SET SESSION character_set_results = binary")
        for kind, query in _LISTS.items():
            there, here = (_listed(conn, query) for conn in (theirs, ours))
            found += [f"{kind} {name}: only on one side" for name in sorted(there ^ here)]
            for schema, name in sorted(there & here):
                show = f"SHOW CREATE {kind} {qualified(schema, name)}"
                # The last column of a trigger is its age.
                columns = 6 if kind == "trigger" else None
                if (shown := _shown(theirs, show, columns)) != (copied := _shown(ours, show, columns)):
                    found.append(f"{kind} {schema}.{name}: {shown} {copied}")
                select = f"SELECT * FROM {qualified(schema, name)}"
                if kind == "table" and sorted(map(repr, rows(theirs, select))) != sorted(
                    map(repr, rows(ours, select))
                ):
                    found.append(f"rows of {schema}.{name}")
    return found


def undefined(primary: Primary, copy: Copy) -> list[str]:
    """:returns: definitions that the check of definitions would find missing or different."""
    with copy.flavor.connect(primary.endpoint()) as theirs, copy.server.connect() as ours:
        there, here = copy.flavor.definitions(theirs).objects, copy.flavor.definitions(ours).objects
    return sorted(
        n for n in there.keys() | here.keys() if there.get(n) != here.get(n) and n not in copy.left_out
    )


def catch_up(copy: Copy, primary: Primary, *, timeout_s: float = 60) -> None:
    """Replicate what the primary has written since; a replication error fails the test."""
    endpoint = primary.endpoint("restore_replay")
    with copy.flavor.connect(endpoint) as reader, copy.server.connect() as node:
        goal = copy.flavor.primary_position(reader)
        copy.flavor.start_replication(node, endpoint, until=goal, appliers=1)
        deadline = time.monotonic() + timeout_s
        while not (status := copy.flavor.replication_status(node)).applied.contains(goal):
            assert status.error is None, status.error
            assert time.monotonic() < deadline, status
            time.sleep(0.05)
        copy.flavor.stop_replication(node)


def primary_of(name: str, root: Path, **options: Any) -> Primary:
    """:returns: a fresh primary of the kit *name*, with the account."""
    primary = KITS[name].primary.start(root, **options)
    primary.create_backup_account()
    return primary


def _shown(conn: Conn, show: str, columns: int | None) -> tuple[Any, ...]:
    try:
        # A replica disables events.
        return tuple(_DISABLED.sub(b" ENABLE", cell) for cell in rows(conn, show)[0][:columns])
    except pymysql.err.MySQLError as exc:
        # A view whose function has a definer that is gone; the other server must say the same.
        return exc.args


def _listed(conn: Conn, query: str) -> set[tuple[str, str]]:
    pairs = {(schema.decode(), name.decode()) for schema, name in rows(conn, query)}
    return {pair for pair in pairs if pair[0] not in _OWN}


def _bytes(conn: Conn) -> Conn:
    conn.use_unicode = False
    return conn
