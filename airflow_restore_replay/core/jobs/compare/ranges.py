"""Compare one table's rows between two connections, range by range."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import pymysql

from airflow_restore_replay.core.errors import CheckUnfinished, PrimaryUnreachable, SourceCorrupt
from airflow_restore_replay.core.flavor.classify import STATEMENT_ENDED
from airflow_restore_replay.core.flavor.sql import CORRUPT_NUMBERS, LOST_NUMBERS
from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.jobs.compare.tables import Key, KeyRange, TablePlan

_KEYS_SHOWN = 20


@dataclass(frozen=True)
class Difference:
    """Rows that differ in one range: keys only, never values.

    :param changed: keys of rows that both sides have, with different content.
    :param missing: keys of rows that only the primary has.
    :param added: keys of rows that only the node has.
    :param counts: number of rows in the range on primary and node.
    """

    table: str
    span: KeyRange
    changed: frozenset[Key] = frozenset()
    missing: frozenset[Key] = frozenset()
    added: frozenset[Key] = frozenset()
    counts: tuple[int, int] = (0, 0)

    @property
    def keys(self) -> frozenset[Key]:
        return self.changed | self.missing | self.added

    def confirmed_by(self, later: Difference) -> bool:
        """Return whether a row differs at both positions; without keys, the table as a whole does."""
        if not self.keys or not later.keys:
            return True
        return bool(self.keys & later.keys)

    def describe(self) -> dict[str, Any]:
        """Return JSON-able evidence."""
        evidence: dict[str, Any] = {"table": self.table, "key_range": str(self.span)}
        evidence["rows_primary"], evidence["rows_node"] = self.counts
        for name in ("changed", "missing", "added"):
            keys: frozenset[Key] = getattr(self, name)
            if keys:
                shown = sorted(", ".join(str(v)[:40] for v in key) for key in keys)
                evidence[name] = {"count": len(keys), "keys": shown[:_KEYS_SHOWN]}
        return evidence


@dataclass
class Sides:
    """The connections to primary and node; the primary's is inside its snapshot.

    :param pool: one thread, which queries the primary while this one queries the node.
    :ivar rows: number of the primary's rows that were compared.
    """

    primary: Conn
    node: Conn
    pool: Executor
    rows: int = field(default=0)

    def both(self, sql: str, params: list[Any]) -> tuple[Any, Any]:
        """Run one query on both sides at the same time."""
        theirs = self.pool.submit(fetch_theirs, self.primary, sql, params)
        ours = fetch(self.node, sql, params)
        return theirs.result(), ours


@contextlib.contextmanager
def asking_the_primary() -> Iterator[None]:
    """Classify errors of queries on the primary.

    :raises SourceCorrupt: the primary cannot read its own rows.
    :raises PrimaryUnreachable: the connection broke.
    :raises CheckUnfinished: an administrator or a time limit ended the query.
    """
    try:
        yield
    except pymysql.err.MySQLError as exc:
        if exc.args and exc.args[0] in LOST_NUMBERS:
            raise PrimaryUnreachable(
                f"The primary's connection broke while its rows were read: {exc.args[-1]}."
            ) from exc
        if exc.args and exc.args[0] in STATEMENT_ENDED:
            raise CheckUnfinished(
                f"The primary ended a query of its rows: {exc.args[1]} (error {exc.args[0]}).",
                hint="Find who kills long queries there, or exempt the account from the limit.",
            ) from exc
        if not exc.args or exc.args[0] not in CORRUPT_NUMBERS:
            raise
        raise SourceCorrupt(
            f"The primary cannot read its own data: {exc.args[1]} (error {exc.args[0]}).",
            hint="Repair the table on the primary; the last good backup is kept.",
            evidence={"error": exc.args[0]},
        ) from exc


def fetch_theirs(primary: Conn, sql: str, params: list[Any]) -> Any:
    """Run a query on the primary, and return its rows.

    :raises SourceCorrupt, PrimaryUnreachable: see :func:`asking_the_primary`.
    """
    with asking_the_primary():
        return fetch(primary, sql, params)


def fetch(conn: Conn, sql: str, params: list[Any]) -> Any:
    with conn.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


#: time that the comparison of a range should take, on a slow server, too
_CHUNK_S = 0.5
_MOST_ROWS = 200_000


@dataclass
class Pace:
    """Number of rows per range, adapted so that a range takes half a second.

    :param rows: number of rows of the first range.
    """

    rows: int

    def took(self, seconds: float) -> None:
        """Adapt to the time that a whole range took."""
        factor = min(2.0, max(0.5, _CHUNK_S / max(seconds, 1e-6)))
        self.rows = max(1, min(_MOST_ROWS, int(self.rows * factor)))


@dataclass
class Compared:
    """Result of the comparison of one table.

    :param after: key after which the time was over; None if all rows were compared.
    """

    differences: list[Difference] = field(default_factory=list)
    after: Key | None = None


def compare_table(
    sides: Sides,
    plan: TablePlan,
    *,
    pace: Pace,
    after: Key | None = None,
    over: Callable[[], bool] = lambda: False,
    on_chunk: Callable[[int], None],
) -> Compared:
    """Compare every row of a table, or those after a key.

    :param after: key after which to begin; None for the first row.
    :param over: called after each range but the last; true ends the comparison there.
    :param on_chunk: called with the rows compared so far; may wait, and raise to stop.
    :returns: differences, at most one per range.
    """
    compared = Compared()
    started = time.monotonic()
    for span in _spans(sides.primary, plan, pace, after):
        difference = compare_range(sides, plan, span)
        if difference:
            compared.differences.append(difference)
        if span.to is not None:
            pace.took(time.monotonic() - started)
        on_chunk(sides.rows)
        if span.to is not None and over():
            compared.after = span.to
            break
        started = time.monotonic()
    return compared


def compare_range(sides: Sides, plan: TablePlan, span: KeyRange) -> Difference | None:
    where, params = plan.where(span)
    theirs, ours = sides.both(plan.checksum_sql(where), params)
    sides.rows += int(theirs[0][0])
    if theirs == ours:
        return None
    counts = (int(theirs[0][0]), int(ours[0][0]))
    if not plan.key:
        return Difference(plan.table.qualified, span, counts=counts)
    return _differing_keys(sides, plan, span, counts)


def _differing_keys(sides: Sides, plan: TablePlan, span: KeyRange, counts: tuple[int, int]) -> Difference:
    where, params = plan.where(span)
    theirs, ours = (_by_key(rows) for rows in sides.both(plan.rows_sql(where), params))
    shared = theirs.keys() & ours.keys()
    return Difference(
        plan.table.qualified,
        span,
        changed=frozenset(k for k in shared if theirs[k] != ours[k]),
        missing=frozenset(theirs.keys() - ours.keys()),
        added=frozenset(ours.keys() - theirs.keys()),
        counts=counts,
    )


def _by_key(rows: Any) -> dict[Key, tuple[str, ...]]:
    # A system-versioned table has several rows per key: its history.
    digests: dict[Key, list[str]] = {}
    for *key, digest in rows:
        digests.setdefault(tuple(key), []).append(str(digest))
    return {key: tuple(sorted(values)) for key, values in digests.items()}


def _spans(primary: Conn, plan: TablePlan, pace: Pace, after: Key | None) -> Iterator[KeyRange]:
    """Yield ranges of the primary's rows, which together cover every possible key beyond *after*."""
    while plan.key:
        where, params = plan.where(KeyRange(after=after))
        boundary = fetch_theirs(primary, plan.boundary_sql(where, pace.rows), params)
        if not boundary:
            break
        yield KeyRange(after=after, to=tuple(boundary[0]))
        after = tuple(boundary[0])
    yield KeyRange(after=after)
