"""Create objects on a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pymysql

from airflow_restore_replay.core.flavor.carry.objects import Object, Settings
from airflow_restore_replay.core.flavor.carry.raw import execute, setting
from airflow_restore_replay.core.flavor.quoting import identifier, literal
from airflow_restore_replay.core.flavor.sql import LOST_NUMBERS, rows, run, value
from airflow_restore_replay.core.flavor.values import Conn

_STRICT = "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO"
# A full disk or table, a lock, too little memory or a lost connection.
_NOT_ABOUT_THE_STATEMENT = LOST_NUMBERS | {3, 1020, 1021, 1026, 1037, 1041, 1114, 1205, 1213}


class Maker:
    """A session on the node that creates objects under the settings that belong to them.

    :param mode: the SQL mode for objects without one of their own.
    """

    def __init__(self, node: Conn, *, mode: str) -> None:
        self.node = node
        self._plain = Settings(
            mode, "utf8mb4", value(node, "SELECT @@collation_connection"), "", "+00:00", "DEFAULT"
        )
        self._now = Settings()
        self._schema = ""
        self._collations: dict[str, str] = {}
        run(
            node,
            "SET SESSION foreign_key_checks = 0, unique_checks = 0, sql_notes = 0, sql_quote_show_create = 1",
        )

    def run(self, sql: str, args: Sequence[Any] = ()) -> None:
        """Run a statement of our own."""
        self._set(self._plain)
        run(self.node, sql, args)

    def insert(self, sql: str, args: Sequence[Any]) -> None:
        """Run an INSERT that fails if the server would change a value."""
        self._set(replace(self._plain, sql_mode=_STRICT))
        run(self.node, sql, args)

    def make(self, made: Object) -> None:
        """Create an object.

        :raises pymysql.err.MySQLError: the node's server refuses it.
        """
        self._set(self._plain)
        if made.kind == "schema":
            execute(self.node, made.statement)
            return
        if made.schema != self._schema:
            run(self.node, f"USE {identifier(made.schema)}")
            self._schema = made.schema
        self._collate(made.schema, made.settings.database)
        self._set(made.settings)
        # The server drops semicolons and blanks at the end of what it is sent, but not in front of a comment.
        ends_open = made.statement.rstrip().endswith(b";")
        execute(self.node, made.statement + (b"-- " if ends_open else b""))

    def refusal(self, made: Object) -> str:
        """Create an object, and return why the server does not accept its statement, ``""`` if it does.

        :raises pymysql.err.MySQLError: something else is wrong with the server.
        """
        try:
            self.make(made)
        except pymysql.err.MySQLError as exc:
            if not exc.args or exc.args[0] in _NOT_ABOUT_THE_STATEMENT:
                raise
            # The rest would quote the statement.
            return str(exc.args[-1]).partition("; check the manual")[0]
        return ""

    def finish(self) -> None:
        """Give schemas the collation back that they had before objects were created under another."""
        for schema, collation in self._collations.items():
            self._collate_now(schema, collation)
        self._collations.clear()

    def _collate(self, schema: str, wanted: str) -> None:
        if not wanted:
            return
        query = "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
        ((now,),) = rows(self.node, query, (schema,))
        if now != wanted:
            self._collations.setdefault(schema, now)
            self._collate_now(schema, wanted)

    def _collate_now(self, schema: str, collation: str) -> None:
        self.run(f"ALTER DATABASE {identifier(schema)} COLLATE {literal(collation)}")

    def _set(self, wanted: Settings) -> None:
        plain = self._plain
        settings = Settings(
            plain.sql_mode if wanted.sql_mode is None else wanted.sql_mode,
            wanted.client or plain.client,
            wanted.connection or plain.connection,
            "",
            wanted.time_zone or plain.time_zone,
            wanted.timestamp or plain.timestamp,
        )
        if settings == self._now:
            return
        run(
            self.node,
            f"SET SESSION character_set_client = {setting(settings.client)},"
            f" collation_connection = {setting(settings.connection)}, sql_mode = {setting(settings.sql_mode or '')},"
            f" time_zone = {setting(settings.time_zone)}, timestamp = {setting(settings.timestamp)}",
        )
        self._now = settings
