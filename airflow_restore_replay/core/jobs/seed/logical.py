"""Seed over the SQL port: a dump of the primary, piped into the node, from one snapshot, with its exact GTID."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.errors import JobCancelled, SeedFailed
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.carry.carrying import make_after_rows, make_before_rows
from airflow_restore_replay.core.flavor.carry.objects import Objects
from airflow_restore_replay.core.flavor.carry.reading import Rules, read
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.pipeline import pipe
from airflow_restore_replay.core.flavor.quoting import parted
from airflow_restore_replay.core.flavor.seeding import DumpTools, refuse_unsupported_tables
from airflow_restore_replay.core.flavor.sql import value
from airflow_restore_replay.core.flavor.tables import NOT_OPENED_INTACT
from airflow_restore_replay.core.flavor.tables import unreadable as unreadable_table
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position, position_text
from airflow_restore_replay.core.flavor.variables import follow_zone
from airflow_restore_replay.core.system.processes import run_program

#: seeds that begin again because objects were changed
_TRIES = 5
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
        refuse_unsupported_tables(flavor.unsupported_tables(conn))
        _await_no_xa(tools, conn, cancelled)
        total = tools.data_bytes(conn)
        left_out = tools.prepare(server, conn)
        rules = tools.rules(conn)
    seed = _Seed(
        flavor, tools, server, primary, rules, secrets_dir, lambda done: progress(done, total), cancelled
    )
    position, notes = seed.copy()
    with contextlib.closing(server.connect()) as node:
        executed = flavor.executed_position(node)
        # Its tables of time zones came with the rows.
        follow_zone(node, server.layout.variables)
    if str(executed) != str(position):
        raise SeedFailed(
            f"The node's position is {position_text(executed)} after a load of {position_text(position)}."
        )
    left_out |= notes.pop("left_out", {})
    return position, notes | ({"left_out": left_out} if left_out else {})


@dataclass(frozen=True)
class _Seed:
    """A seed by a dump: objects over connections of our own, rows through the dump's pipe."""

    flavor: Flavor
    tools: DumpTools
    server: NodeServer
    primary: Endpoint
    rules: Rules
    secrets_dir: Path
    progress: Callable[[int], None]
    cancelled: Callable[[], bool]

    def copy(self) -> tuple[Position, dict[str, Any]]:
        """Copy everything.

        A snapshot does not cover objects. So they are read before it is opened and after that. If they are the same,
        the snapshot's position describes them, too.

        :raises SeedFailed: objects were changed at each of ``_TRIES`` times.
        """
        changed: list[str] = []
        unreadable: dict[str, str] = {}
        for _ in range(_TRIES):
            objects = self._read()
            objects.unreadable = frozenset(map(parted, unreadable))
            with contextlib.closing(self.server.connect()) as node:
                left_out = make_before_rows(node, objects, self.rules)
            again = _Again(objects, self._read)
            try:
                position, notes = self._copy_rows(objects, again)
            except _Changed as exc:
                changed = exc.names
                continue
            except SeedFailed as exc:
                if unreadable or exc.evidence.get("error") not in NOT_OPENED_INTACT:
                    raise
                unreadable = self._unreadable()
                if not unreadable:
                    raise
                continue
            states = {
                f"table {name}": f"has no rows, the primary does not open it: {why}"
                for name, why in unreadable.items()
            }
            notes["left_out"] = left_out | notes.get("left_out", {}) | states
            return position, notes
        raise SeedFailed(
            f"Objects of the primary were changed while each of {_TRIES} dumps began: {', '.join(changed[:20])}.",
            hint="Run the cycle when no DDL runs.",
        )

    def _copy_rows(self, objects: Objects, again: _Again) -> tuple[Position, dict[str, Any]]:
        tools, server = self.tools, self.server
        with (
            tools.hold(self.primary) as hold,
            tools.commands(server, self.primary, self.secrets_dir, objects) as (dump, load),
        ):
            _refuse_other_server(server, load)

            def watch(block: bytes) -> None:
                if hold.seen(block):
                    again.begin()

            try:
                done = pipe(
                    dump,
                    load,
                    progress=self.progress,
                    cancelled=lambda: self.cancelled() or bool(again.changed()),
                    watch=watch,
                )
            except JobCancelled:
                if self.cancelled():
                    raise
                raise _Changed(again.changed()) from None
            if done.sink_status or done.source_status:
                again.explain()
            # If the load fails, the dump is ended, too, by SIGKILL; then the load's error is the reason.
            if done.sink_status > 0:
                raise tools.load_error(done.sink_status, done.sink_stderr)
            if done.source_status:
                raise tools.dump_error(done.source_status, done.source_stderr)
            if done.sink_status:
                raise tools.load_error(done.sink_status, done.sink_stderr)
            position = hold.position(done.tail)
            counters = again.result()
            # The session is older than the account tables' rows become valid, so its privileges stay.
            with contextlib.closing(server.connect()) as node:
                left_out = make_after_rows(node, objects, self.rules, counters)
                notes = tools.finish(server, node, hold, position)
                return position, notes | {"left_out": left_out | notes.get("left_out", {})}

    def _unreadable(self) -> dict[str, str]:
        """Return the tables that the primary does not open, with the reason."""
        with contextlib.closing(self.flavor.connect(self.primary)) as conn:
            return {t.qualified: why for t in self.flavor.tables(conn) if (why := unreadable_table(conn, t))}

    def _read(self) -> Objects:
        with contextlib.closing(self.flavor.connect(self.primary)) as conn:
            return read(conn, self.rules)


class _Changed(Exception):
    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


class _Again:
    """A second reading of the objects, beside the dump.

    :param before: the objects before the dump.
    """

    def __init__(self, before: Objects, reading: Callable[[], Objects]) -> None:
        self._before = before
        self._reading = reading
        self._found: Objects | None = None
        self._changed: list[str] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="objects", daemon=True)

    def begin(self) -> None:
        """Begin to read; idempotent."""
        if self._thread.ident is None:
            self._thread.start()

    def changed(self) -> list[str]:
        """Return the objects that were changed, as far as that is known already."""
        return self._changed

    def explain(self) -> None:
        """Raise if a change of objects may be why rows could not be copied.

        :raises _Changed: objects were changed since the dump began.
        """
        if self._thread.ident is not None:
            self._thread.join()
        if self._changed:
            raise _Changed(self._changed)

    def result(self) -> Objects:
        """Wait for the objects and return them.

        :raises _Changed: they are not the same as before.
        """
        self.begin()
        self._thread.join()
        if self._failure:
            raise self._failure
        assert self._found is not None
        if self._changed:
            raise _Changed(self._changed)
        return self._found

    def _run(self) -> None:
        try:
            self._found = self._reading()
            self._changed = self._before.differing(self._found)
        except BaseException as exc:
            self._failure = exc


def _refuse_other_server(server: NodeServer, load: Sequence[str]) -> None:
    """Ask the load's client, before it gets a byte, which server it reaches.

    :raises SeedFailed: it is not the node.
    """
    query = "SELECT CONCAT_WS(' ', @@server_id, HEX(@@datadir), HEX(@@socket), @@port)"
    with contextlib.closing(server.connect()) as node:
        expected = str(value(node, query))
    done = run_program([*load, "--skip-column-names", f"--execute={query}"])
    if done.returncode or done.stdout.strip() != expected:
        raise SeedFailed(
            f"The client that loads the dump does not reach the node's server: {done.stderr.strip()[-500:]}",
            evidence={"expected": expected, "observed": done.stdout.strip()[:500]},
        )


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
