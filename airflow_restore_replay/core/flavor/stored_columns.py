"""Stored generated columns that a logical seed would compute otherwise than the primary did.

A load computes them again, in UTC and with the server's defaults. The primary's values are those of the sessions that
wrote the rows: an expression over a TIMESTAMP depends on the session's time zone, a quotient on
div_precision_increment, and the name of a day on lc_time_names.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pymysql

from airflow_restore_replay.core.flavor.examination import Examination, Observation, PrimaryFacts
from airflow_restore_replay.core.flavor.primary_examinations import named
from airflow_restore_replay.core.flavor.quoting import identifier, joined, qualified
from airflow_restore_replay.core.flavor.session import AS_BEFORE, COMPUTING
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows, run
from airflow_restore_replay.core.flavor.values import Conn

_COLUMNS = (
    "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, EXTRA, GENERATION_EXPRESSION"
    f" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS}"
    " AND (DATA_TYPE = 'timestamp' OR EXTRA LIKE '%STORED GENERATED%')"
)
#: MySQL shows the quotes of an expression's texts with backslashes
_SHOWN = re.compile(r"\\(['\\])")
_OF_SETTINGS = re.compile(r"/|\b(?:dayname|monthname|date_format|str_to_date|week)\s*\(", re.I)


def recomputed(seed: str, *, escaped: bool) -> Examination:
    """Return the examination whether the rows have other values in stored columns than a load would compute.

    It reads the tables that have such a column over a TIMESTAMP or with a function of settings, as the seed does after
    it. So it does not concern a replay.

    :param seed: how to seed with the values as they are.
    :param escaped: whether the server shows an expression as the inside of a text.
    """

    def observe(facts: PrimaryFacts) -> Observation | None:
        if not facts.wanted.seeding:
            return None
        with _computing(facts.conn):
            found = [
                joined(*table)
                for table, where in _candidates(facts.conn, escaped).items()
                if _differs(facts.conn, where)
            ]
        return Observation(
            not found,
            named(found),
            "none: a load computes stored generated columns again, and expressions over a TIMESTAMP, quotients and "
            "names of days depend on settings of the session that wrote the row",
            f"{seed}, or convert these columns: {named(found)}.",
        )

    return Examination(
        name="stored generated columns", observe=observe, seeds=["logical"], for_seed=True, needs=["SELECT"]
    )


@contextlib.contextmanager
def _computing(conn: Conn) -> Iterator[None]:
    """Give the session the settings of one that loads rows."""
    run(conn, f"SET {COMPUTING}")
    try:
        yield
    finally:
        run(conn, f"SET {AS_BEFORE}")


def _candidates(conn: Conn, escaped: bool) -> dict[tuple[str, str], str]:
    """Return tables → FROM and WHERE that find a row whose value is another one in this session."""
    times: dict[tuple[str, str], set[str]] = {}
    stored: dict[tuple[str, str], dict[str, str]] = {}
    for schema, table, column, kind, extra, expression in rows(conn, _COLUMNS):
        key = (str(schema), str(table))
        if "STORED GENERATED" in str(extra).upper():
            stored.setdefault(key, {})[str(column)] = (
                _SHOWN.sub(r"\1", str(expression)) if escaped else str(expression)
            )
        elif str(kind).lower() == "timestamp":
            times.setdefault(key, set()).add(str(column))
    found = {}
    for key, columns in stored.items():
        about = [
            f"NOT ({identifier(column)} <=> ({expression}))"
            for column, expression in columns.items()
            if _OF_SETTINGS.search(expression)
            or any(identifier(time) in expression for time in times.get(key, ()))
        ]
        if about:
            found[key] = f"{qualified(*key)} WHERE {' OR '.join(about)}"
    return found


def _differs(conn: Conn, where: str) -> bool:
    try:
        return bool(rows(conn, f"SELECT 1 FROM {where} LIMIT 1"))
    except pymysql.err.ProgrammingError:
        # An expression that no query may contain: the comparison after the seed decides.
        return False
