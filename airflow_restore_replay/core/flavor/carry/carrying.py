"""Carry all objects of a primary to a node: before the rows, and after them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_restore_replay.core.errors import SeedFailed
from airflow_restore_replay.core.flavor.carry.making import Maker
from airflow_restore_replay.core.flavor.carry.objects import Object, Objects, Rows
from airflow_restore_replay.core.flavor.carry.reading import VIRTUAL, Rules
from airflow_restore_replay.core.flavor.carry.views import make_views
from airflow_restore_replay.core.flavor.quoting import identifier, qualified
from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn

#: objects of these schemas replace the node's own
_REPLACED = "mysql"
_NO_SUBSTITUTE = "NO_ENGINE_SUBSTITUTION"


def make_before_rows(node: Conn, objects: Objects, rules: Rules) -> dict[str, str]:
    """Create everything that must be there before the rows: schemas, empty tables, routines and views.

    Routines come before views, which call them. Views come before rows, so that a table can be replaced for a moment.

    :returns: object → why it is not carried.
    :raises SeedFailed: the node's server refuses a schema, a table or a sequence.
    """
    maker = Maker(node, mode=",".join(filter(None, (_NO_SUBSTITUTE, rules.table_mode))))
    for role in objects.roles:
        # Without the role, the server takes a definer's name for that of an account. Roles stay valid until privileges
        # are read again, though the tables that have them are made anew here.
        maker.run(f"CREATE ROLE IF NOT EXISTS {identifier(role)}")
    _drop_schemas(maker, rules.kept | {_REPLACED, *VIRTUAL})
    present = _present(node, rules.kept)
    spared = rules.kept | {_REPLACED}
    _must(_make_all(maker, (schema for schema in objects.schemas if schema.schema not in spared), present))
    for made in objects.tables:
        if made.schema == _REPLACED:
            maker.run(f"DROP TABLE IF EXISTS {qualified(made.schema, made.name)}")
        elif made.key in present:
            maker.run(f"DELETE FROM {qualified(made.schema, made.name)}")
    tables_to_fill = (table.without_counter() if table.only_counts_up else table for table in objects.tables)
    # Defaults of tables refer to sequences.
    _must(_make_all(maker, (*objects.sequences, *tables_to_fill), present))
    for table in objects.rows:
        _insert(maker, table)
    refused = _make_all(maker, objects.routines, present)
    views = [view for view in objects.views if view.key not in present]
    for view in views:
        if view.schema == _REPLACED:
            maker.run(f"DROP VIEW IF EXISTS {qualified(view.schema, view.name)}")
    tables = {(table.schema, table.name): table for table in objects.tables if table.schema not in spared}
    refused |= make_views(maker, views, tables)
    maker.finish()
    return objects.left_out | refused


def make_after_rows(node: Conn, objects: Objects, rules: Rules, counters: Objects) -> dict[str, str]:
    """Create triggers and events, which would change rows; set counters.

    :param counters: the objects as they were when the rows were read.
    :returns: object → why it is not carried.
    """
    maker = Maker(node, mode=_NO_SUBSTITUTE)
    present = _present(node, rules.kept)
    before = {table.key: table.counter() for table in objects.tables}
    for table in counters.tables:
        if table.counter() > before.get(table.key, table.counter()) and b"ENGINE=InnoDB" in table.statement:
            maker.run(f"ALTER TABLE {qualified(table.schema, table.name)} AUTO_INCREMENT = {table.counter()}")
    for (schema, name), (following, rounds) in counters.next_values.items():
        maker.run(f"DO SETVAL({qualified(schema, name)}, {following}, 0, {rounds})")
    refused = _make_all(maker, (*objects.triggers, *objects.events), present)
    maker.finish()
    return refused


def _make_all(
    maker: Maker, objects: Iterable[Object], present: frozenset[tuple[str, str, str]]
) -> dict[str, str]:
    """Create *objects*, and return those that the server refuses → why."""
    made = {str(o): maker.refusal(o) for o in objects if o.key not in present}
    return {name: why for name, why in made.items() if why}


def _must(refused: dict[str, str]) -> None:
    """Raise if there is an object without which rows have no place."""
    for name, why in refused.items():
        raise SeedFailed(f"The node's server refuses {name}: {why}", evidence={"refused": refused})


def _insert(maker: Maker, table: Rows) -> None:
    """Insert rows as the bytes that they are."""
    columns = ", ".join(identifier(column) for column in table.columns)
    places = ", ".join(["%s"] * len(table.columns))
    for values in table.values:
        maker.insert(f"INSERT INTO mysql.{identifier(table.table)} ({columns}) VALUES ({places})", values)


def _drop_schemas(maker: Maker, spared: frozenset[str]) -> None:
    """Drop the schemas that an interrupted seed has left."""
    for (name,) in rows(maker.node, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"):
        if name not in spared:
            maker.run(f"DROP DATABASE {identifier(name)}")


def _present(node: Conn, schemas: frozenset[str]) -> frozenset[tuple[str, str, str]]:
    """Return the keys of the objects that the node has in *schemas*."""
    found: set[tuple[str, str, str]] = set()
    queries: dict[str, str] = {
        "TABLES": "SELECT IF(TABLE_TYPE = 'VIEW', 'view', 'table'), TABLE_SCHEMA, TABLE_NAME",
        "ROUTINES": "SELECT LOWER(ROUTINE_TYPE), ROUTINE_SCHEMA, ROUTINE_NAME",
        "TRIGGERS": "SELECT 'trigger', TRIGGER_SCHEMA, TRIGGER_NAME",
        "EVENTS": "SELECT 'event', EVENT_SCHEMA, EVENT_NAME",
    }
    for table, select in queries.items() if schemas else ():
        listed: list[tuple[Any, ...]] = rows(node, f"{select} FROM information_schema.{table}")
        found.update((kind, schema, name) for kind, schema, name in listed if schema in schemas)
    return frozenset(found)
