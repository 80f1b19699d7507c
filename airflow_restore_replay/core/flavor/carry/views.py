"""Create views in any order, and also those whose tables, columns or functions are gone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from airflow_restore_replay.core.flavor.carry.making import Maker
from airflow_restore_replay.core.flavor.carry.objects import Object
from airflow_restore_replay.core.flavor.quoting import identifier, literal, qualified

_Name = tuple[str, str]

_NO_TABLE = re.compile(r"^Table '(.+\..+)' doesn't exist", re.DOTALL)
_INVALID = re.compile(r"^View '(.+\..+)' references invalid", re.DOTALL)
_NO_COLUMN = re.compile(r"^Unknown column '(.+)' in ", re.DOTALL)
_NO_USER = re.compile(r"^The user specified as a definer \('(.*)'@'(.*)'\) does not exist", re.DOTALL)
_NO_FUNCTION = re.compile(r"^FUNCTION (.+\..+) does not exist", re.DOTALL)
_ARGUMENTS = re.compile(
    r"^Incorrect number of arguments for FUNCTION (.+\..+); expected 0, got (\d+)$", re.DOTALL
)
#: statements that one view may need until the server accepts it
_TRIES = 2000


def make_views(maker: Maker, views: Sequence[Object], tables: Mapping[_Name, Object]) -> dict[str, str]:
    """Create *views* while the tables are empty.

    :param tables: schema and name → the table, if the node has it.
    :returns: view → why the server refuses it even so.
    """
    waiting = _as_far_as_possible(maker, views)
    refused: dict[str, str] = {}
    while waiting:
        view = waiting.pop(0)
        stand_ins = _StandIns(maker, tables, {(v.schema, v.name): v for v in views})
        why = stand_ins.make(view)
        if why:
            refused[str(view)] = why
        # A view that another one needed as a table is created again.
        replaced = [view for view in stand_ins.replaced_views if view not in waiting]
        waiting = _as_far_as_possible(maker, [*waiting, *replaced])
    return refused


def _as_far_as_possible(maker: Maker, views: Sequence[Object]) -> list[Object]:
    """Create *views* in an order in which each finds what it needs, and return the others."""
    waiting = list(views)
    while True:
        failed = [view for view in waiting if maker.refusal(view)]
        if len(failed) in (0, len(waiting)):
            return failed
        waiting = failed


class _StandIns:
    """Empty tables, functions and accounts in the place of what a view refers to and the server does not have.

    Accounts come with the rows; the server asks for the definers of a view's functions before.
    """

    def __init__(self, maker: Maker, tables: Mapping[_Name, Object], views: Mapping[_Name, Object]) -> None:
        self.replaced_views: list[Object] = []
        self._maker = maker
        self._tables = tables
        self._views = views
        self._columns: dict[_Name, list[str]] = {}
        self._behind_views: dict[_Name, _Name] = {}
        self._replaced: list[Object] = []
        self._functions: list[_Name] = []
        self._accounts: list[str] = []

    def make(self, view: Object) -> str:
        """Create *view*, remove all stand-ins, and return why that failed, if it did."""
        why = ""
        try:
            for _ in range(_TRIES):
                why = self._maker.refusal(view)
                if not why or not self._provide(why, view):
                    break
            return why
        finally:
            self._remove()

    def _provide(self, why: str, view: Object) -> bool:
        """Provide what the server misses, and return whether *why* names it."""
        if match := _NO_TABLE.match(why) or _INVALID.match(why):
            return self._stand_in(_named(match[1], view), view)
        if match := _NO_FUNCTION.match(why):
            return self._function(_named(match[1], view), 0)
        if match := _ARGUMENTS.match(why):
            return self._function(_named(match[1], view), int(match[2]))
        if match := _NO_USER.match(why):
            self._accounts.append(f"{literal(match[1])}@{literal(match[2])}")
            self._maker.run(f"CREATE USER {self._accounts[-1]}")
            self._maker.run(f"GRANT ALL ON *.* TO {self._accounts[-1]}")
            return True
        if match := _NO_COLUMN.match(why):
            return self._add_column(match[1], view) or self._stand_in_for_all(view)
        return False

    def _function(self, name: _Name, count: int) -> bool:
        if count and name not in self._functions:
            return False
        arguments = ", ".join(f"a{number} TEXT" for number in range(count))
        self._maker.run(f"DROP FUNCTION IF EXISTS {qualified(*name)}")
        self._maker.run(
            f"CREATE FUNCTION {qualified(*name)} ({arguments}) RETURNS TEXT DETERMINISTIC RETURN 1"
        )
        self._functions.append(name)
        return True

    def _stand_in(self, name: _Name, wanting: Object) -> bool:
        """Create an empty table under *name*, or a view of one if *wanting* names it as a server names views."""
        if name in self._columns:
            return False
        view, table = self._views.get(name), self._tables.get(name)
        if view:
            self._maker.run(f"DROP VIEW IF EXISTS {qualified(*name)}")
            self.replaced_views.append(view)
        elif table:
            self._maker.run(f"DROP TABLE {qualified(*name)}")
            self._replaced.append(table)
        self._columns[name] = []
        # MariaDB writes the schema before the column of a table, and not before that of a view.
        like_a_view = f"{qualified(*name)}.`".encode() not in wanting.statement
        if view or (like_a_view and not table):
            self._behind_views[name] = (name[0], f"stand-in {len(self._columns)}")
        self._maker.run(f"CREATE TABLE {qualified(*self._table(name))} (`stand-in` INT)")
        self._show(name)
        return True

    def _table(self, name: _Name) -> _Name:
        return self._behind_views.get(name, name)

    def _show(self, name: _Name) -> None:
        if name in self._behind_views:
            table = self._behind_views[name]
            self._maker.run(f"CREATE OR REPLACE VIEW {qualified(*name)} AS SELECT * FROM {qualified(*table)}")

    def _stand_in_for_all(self, view: Object) -> bool:
        """Stand in for all tables of *view*: the server names an alias of the one that lacks a column."""
        named = [name for name in self._tables if qualified(*name).encode() in view.statement]
        return any([self._stand_in(name, view) for name in named])

    def _add_column(self, wanted: str, view: Object) -> bool:
        """Add the column that *wanted* ends with to the stand-in that it names, or to all."""
        path, _, column = wanted.rpartition(".")
        schema, _, table = path.partition(".")
        if table and (schema, table) in self._tables and (schema, table) not in self._columns:
            return self._stand_in((schema, table), view)
        lacking = [n for n, columns in self._columns.items() if column not in columns]
        named = [name for name in lacking if ".".join(name) == path] or lacking
        for name in named:
            self._maker.run(
                f"ALTER TABLE {qualified(*self._table(name))} ADD COLUMN {identifier(column)} TEXT"
            )
            self._show(name)
            self._columns[name].append(column)
        return bool(named)

    def _remove(self) -> None:
        for name in self._columns:
            self._maker.run(f"DROP TABLE IF EXISTS {qualified(*self._table(name))}")
        for name in self._behind_views:
            self._maker.run(f"DROP VIEW IF EXISTS {qualified(*name)}")
        for name in self._functions:
            self._maker.run(f"DROP FUNCTION IF EXISTS {qualified(*name)}")
        for account in self._accounts:
            self._maker.run(f"DROP USER IF EXISTS {account}")
        for table in self._replaced:
            self._maker.make(table)


def _named(text: str, view: Object) -> _Name:
    """Return schema and name of *text*, which a server's message joins with a point, as *view* names them."""
    points = [place for place, letter in enumerate(text) if letter == "."]
    names = [(text[:place], text[place + 1 :]) for place in points if 0 < place < len(text) - 1]
    return next((name for name in names if qualified(*name).encode() in view.statement), names[0])
