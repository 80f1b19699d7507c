"""The objects of a server, each with the statement that creates it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

_COUNTER = re.compile(rb" AUTO_INCREMENT=(\d+)")


@dataclass(frozen=True)
class Settings:
    """Session variables under which an object was created, and which belong to it.

    :param sql_mode: None: no matter.
    :param client, connection: character set of the text, and collation of its literals; ``""``: no matter.
    :param database: collation of the schema at that time; ``""``: no matter.
    :param time_zone: in which an event's times are written.
    :param timestamp: Unix time of the creation.
    """

    sql_mode: str | None = None
    client: str = ""
    connection: str = ""
    database: str = ""
    time_zone: str = ""
    timestamp: str = ""


@dataclass(frozen=True)
class Object:
    """An object and the statement that creates it in its schema."""

    kind: str
    schema: str
    name: str
    statement: bytes
    settings: Settings = Settings()

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.schema, self.name

    def __str__(self) -> str:
        """Return the name under which definitions are compared."""
        if self.kind in ("procedure", "function"):
            return f"routine {self.schema}.{self.name}.{self.kind.upper()}"
        return f"{self.kind} {self.schema}.{self.name}" if self.name else f"{self.kind} {self.schema}"

    def counter(self) -> int:
        """Return the table's next AUTO_INCREMENT value; 0 if it has none."""
        found = _COUNTER.search(self._options())
        return int(found[1]) if found else 0

    def without_counter(self) -> Object:
        """Return the table without its counter, which rows change."""
        options = self._options()
        body = self.statement[: len(self.statement) - len(options)]
        return replace(self, statement=body + _COUNTER.sub(b"", options, count=1))

    @property
    def only_counts_up(self) -> bool:
        """Return whether the table's engine refuses rows below its counter: ARCHIVE, with error 1022."""
        return self._options().startswith(b"\n) ENGINE=ARCHIVE")

    def _options(self) -> bytes:
        # Each column, key and constraint is on a line of its own, which begins with spaces.
        return self.statement[self.statement.rfind(b"\n) ENGINE=") :] if self.kind == "table" else b""


@dataclass(frozen=True)
class Rows:
    """Rows of a system table that hold the server's objects.

    :param ignored: columns that change without a change of an object.
    """

    table: str
    columns: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]
    ignored: tuple[str, ...] = ()

    def compared(self) -> frozenset[tuple[Any, ...]]:
        kept = [n for n, column in enumerate(self.columns) if column not in self.ignored]
        return frozenset(tuple(row[n] for n in kept) for row in self.values)


@dataclass
class Objects:
    """All objects of a server that a dump of rows does not carry.

    :param rows: routines and events of servers that keep these in tables.
    :param roles: names of roles that definers may be; the rows of accounts, which come later, have all else of them.
    :param left_out: object → why it is not carried.
    :param unreadable: schema and name of tables that the server does not open: only their definitions are carried.
    :param next_values: schema and name of a sequence → its next value, and how often it began again.
    """

    schemas: list[Object] = field(default_factory=list)
    tables: list[Object] = field(default_factory=list)
    sequences: list[Object] = field(default_factory=list)
    routines: list[Object] = field(default_factory=list)
    views: list[Object] = field(default_factory=list)
    triggers: list[Object] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    unreadable: frozenset[tuple[str, str]] = frozenset()
    next_values: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Object]:
        for part in (self.schemas, self.tables, self.sequences, self.routines, self.views):
            yield from part
        yield from self.triggers
        yield from self.events

    def differing(self, other: Objects) -> list[str]:
        """Return the names of objects that are not the same in *other*, without counters of rows."""
        ours, theirs = ({o.key: o.without_counter() for o in side} for side in (self, other))
        named = [
            str(ours.get(k) or theirs[k]) for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)
        ]
        tables = {r.table: r.compared() for r in self.rows}
        changed = [r.table for r in other.rows if tables.get(r.table) != r.compared()]
        return sorted(named) + changed
