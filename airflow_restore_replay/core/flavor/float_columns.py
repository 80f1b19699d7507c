"""Warn of FLOAT columns, which the dump programs of all flavors round."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, rows
from airflow_restore_replay.core.flavor.values import Conn

_NAMES_SHOWN = 20


def rounded_by_a_dump(conn: Conn, *, program: str, instead: str) -> dict[str, str]:
    """Return the warning ``float_columns`` if there are FLOAT columns, else nothing.

    :param program: name of the dump program.
    :param instead: how to seed exactly.
    """
    found = rows(
        conn,
        "SELECT DISTINCT c.TABLE_SCHEMA, c.TABLE_NAME FROM information_schema.COLUMNS c"
        " JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME)"
        " WHERE c.DATA_TYPE = 'float' AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
        f" AND c.TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS} ORDER BY 1, 2",
    )
    named = ", ".join(f"{schema}.{name}" for schema, name in found[:_NAMES_SHOWN])
    text = (
        f"{program} prints six digits of a FLOAT, so after a logical seed these differ from the primary, and the "
        f"comparison says so; {instead}, or list them in validate.exclude: {named}."
    )
    return {"float_columns": text} if found else {}
