"""Put tables of a restored copy into a living server, each under a name that is free there."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pymysql

from airflow_restore_replay.core.errors import (
    Blame,
    DataMismatch,
    PreflightFailed,
    SeedFailed,
    TableExists,
    UnsupportedTables,
)
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.carry.making import Maker
from airflow_restore_replay.core.flavor.carry.objects import Object
from airflow_restore_replay.core.flavor.carry.raw import return_bytes
from airflow_restore_replay.core.flavor.filenames import TableName
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.flavor.quoting import identifier, joined, qualified, spelled
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Table
from airflow_restore_replay.core.jobs.compare.ranges import fetch
from airflow_restore_replay.core.jobs.compare.tables import columns_of, plan_table
from airflow_restore_replay.core.jobs.preconditions import finding_of
from airflow_restore_replay.core.recovery.loading.rows import copy_rows
from airflow_restore_replay.core.recovery.loading.tablespace import Unfit, import_tablespace
from airflow_restore_replay.core.repository.format.records import Manifest

_ANY = "%"
#: schema on the copy, for empty tables that have the definition of others, but not their foreign keys
_SCRATCH = "restore_replay_scratch"
#: what a table is called while it is filled
_WORKING = "restore_replay_"
_LAX = "NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES"


@dataclass(frozen=True)
class Loaded:
    """A table that is in the living server now.

    :param how: ``tablespace`` or ``rows``.
    :param why: why it was not put there as a tablespace; empty if it was.
    :param left_out: what of the table is not there.
    """

    table: str
    into: str
    rows: int
    how: str
    why: str
    left_out: list[str]


def renamed(tables: Sequence[TableName], name: str | None) -> dict[TableName, TableName]:
    """Return the name that each table is to have.

    :param name: ``schema.table``, or ``schema.%`` for the same names in another schema; None for the same names.
    :raises PreflightFailed: one name for several tables, or none at all.
    """
    if name is None:
        return {table: table for table in tables}
    schema, new = spelled(name)
    if not schema or not new:
        raise PreflightFailed(
            f"{name!r} names no table.", hint="Write schema.table, or schema.% for several."
        )
    if new == _ANY:
        return {table: TableName(schema, table.name) for table in tables}
    if len(tables) != 1:
        raise PreflightFailed(
            f"{len(tables)} tables cannot all become {name}.",
            hint="Write --as schema.% for the same names there.",
        )
    return {tables[0]: TableName(schema, new)}


def examine_server(
    flavor: Flavor, server: Endpoint, manifest: Manifest, names: dict[TableName, TableName]
) -> list[Finding]:
    """Return whether a living server can take the tables."""

    def takes() -> str:
        with contextlib.closing(flavor.connect(server)) as conn:
            identity = flavor.identity(conn)
            flavor.refuse_release(
                backup=manifest.server_release, node=identity.release, primary=identity.release
            )
            for name in names.values():
                refuse_existing(conn, name)
            return f"{server}, release {identity.release}"

    wanted = ", ".join(joined(name.schema, name.name) for name in list(names.values())[:20])
    return [
        finding_of("target", "server", takes, expected=f"a {flavor.name} server without {wanted}"),
    ]


def refuse_existing(conn: Conn, name: TableName) -> None:
    """Raise if a table's name is not free.

    :raises TableExists: there is a table or a view of that name.
    :raises PreflightFailed: there is no such schema.
    """
    if not rows(conn, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (name.schema,)):
        raise PreflightFailed(
            f"The server has no schema {name.schema}.", hint=f"CREATE DATABASE {identifier(name.schema)};"
        )
    query = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    if rows(conn, query, (name.schema, name.name)):
        raise TableExists(
            f"The server has {joined(name.schema, name.name)} already; nothing was changed.",
            hint=TableExists.advice,
        )


def load_table(
    flavor: Flavor,
    copy: Conn,
    copy_endpoint: Endpoint,
    server: Endpoint,
    table: TableName,
    into: TableName,
    *,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Loaded:
    """Put one table of the copy into *server* as *into*, which appears there when it is complete and compared.

    :raises TableExists: its name is taken, perhaps since it was examined.
    :raises UnsupportedTables: it is no base table.
    :raises DataMismatch: the rows that arrived are not those that were sent.
    """
    kind = _kind(copy, table)
    working = replace(into, name=_WORKING + secrets.token_hex(8))
    with (
        contextlib.closing(flavor.connect(server)) as there,
        _statement_of(flavor, copy_endpoint, table, working) as (statement),
    ):
        refuse_existing(there, into)
        run(there, f"USE {identifier(into.schema)}")
        maker = Maker(there, mode=_LAX)
        try:
            empty = Object("table", into.schema, working.name, statement)
            maker.make(empty)
            why = ""
            try:
                import_tablespace(flavor, copy, there, table, working)
            except Unfit as exc:
                why = str(exc)
                if exc.spoilt:
                    run(there, f"DROP TABLE {qualified(working.schema, working.name)}")
                    maker.make(empty)
                copy_rows(
                    flavor, copy_endpoint, there, table, working, progress=progress, cancelled=cancelled
                )
            count = _compared(flavor, copy, there, table, working)
            _continue_counter(copy, there, table, working)
            _rename(there, working, into)
        except BaseException:
            with contextlib.suppress(pymysql.err.MySQLError):
                run(there, f"DROP TABLE IF EXISTS {qualified(working.schema, working.name)}")
            raise
    return Loaded(
        joined(table.schema, table.name),
        joined(into.schema, into.name),
        count,
        "rows" if why else "tablespace",
        why,
        _left_out(copy, table, kind),
    )


def _kind(copy: Conn, table: TableName) -> str:
    found = rows(
        copy,
        "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (table.schema, table.name),
    )
    kind = str(found[0][0]) if found else "nothing"
    if kind not in ("BASE TABLE", "SYSTEM VERSIONED"):
        raise UnsupportedTables(
            f"{joined(table.schema, table.name)} is {kind.lower()}; only tables can be put into another server."
        )
    return kind


@contextlib.contextmanager
def _statement_of(
    flavor: Flavor, endpoint: Endpoint, table: TableName, working: TableName
) -> Iterator[bytes]:
    """Yield the statement that creates an empty table like *table* under the name of *working*, as the copy shows it.

    No name is replaced in any text: the copy itself makes an empty table of that name, which has no foreign keys.
    """
    made = qualified(_SCRATCH, working.name)
    with contextlib.closing(flavor.connect(endpoint)) as copy:
        run(copy, f"CREATE DATABASE IF NOT EXISTS {identifier(_SCRATCH)}")
        run(copy, f"CREATE TABLE {made} LIKE {qualified(table.schema, table.name)}")
        try:
            return_bytes(copy)
            yield bytes(rows(copy, f"SHOW CREATE TABLE {made}")[0][1])
        finally:
            run(copy, f"DROP DATABASE {identifier(_SCRATCH)}")


def _compared(flavor: Flavor, copy: Conn, there: Conn, table: TableName, working: TableName) -> int:
    """Compare all rows on both sides, and return their number.

    :raises DataMismatch: they differ.
    """
    ours = Table(schema=table.schema, name=table.name, engine="", mvcc=True)
    theirs = Table(schema=working.schema, name=working.name, engine="", mvcc=True)
    plan = replace(plan_table(flavor, copy, ours, columns_of(copy, ours)), history=False)
    expected = fetch(copy, plan.checksum_sql("1=1"), [])
    found = fetch(there, replace(plan, table=theirs).checksum_sql("1=1"), [])
    if tuple(expected) != tuple(found):
        raise DataMismatch(
            f"{joined(table.schema, table.name)} did not arrive as it was sent: {expected[0][0]} rows were sent, "
            f"{found[0][0]} arrived, or some of them differ. Nothing was left on the server.",
            evidence={"table": joined(table.schema, table.name)},
            # The server is at fault, or what is between: the backup's rows are those that were read.
            blame=Blame.ENVIRONMENT,
        )
    return int(expected[0][0])


def _continue_counter(copy: Conn, there: Conn, table: TableName, working: TableName) -> None:
    query = "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    found = rows(copy, query, (table.schema, table.name))
    if found and found[0][0]:
        run(
            there,
            f"ALTER TABLE {qualified(working.schema, working.name)} AUTO_INCREMENT = {int(found[0][0])}",
        )


def _rename(there: Conn, working: TableName, into: TableName) -> None:
    """Give the table its name, which the server refuses if that is taken.

    :raises TableExists: somebody created another table of that name meanwhile.
    """
    try:
        run(
            there,
            f"RENAME TABLE {qualified(working.schema, working.name)} TO {qualified(into.schema, into.name)}",
        )
    except pymysql.err.MySQLError as exc:
        refuse_existing(there, into)
        raise SeedFailed(f"{joined(into.schema, into.name)} cannot be named so: {exc.args[-1]}") from exc


def _left_out(copy: Conn, table: TableName, kind: str) -> list[str]:
    found = []
    for what, query in (
        (
            "foreign keys",
            "SELECT COUNT(*) FROM information_schema.REFERENTIAL_CONSTRAINTS"
            " WHERE CONSTRAINT_SCHEMA = %s AND TABLE_NAME = %s",
        ),
        (
            "triggers",
            "SELECT COUNT(*) FROM information_schema.TRIGGERS"
            " WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s",
        ),
    ):
        number = int(rows(copy, query, (table.schema, table.name))[0][0])
        if number:
            found.append(f"{number} {what}")
    return [*found, *(["history rows"] if kind == "SYSTEM VERSIONED" else [])]
