"""Statements and results as bytes, so that the text of an object is neither decoded nor encoded on its way."""

from __future__ import annotations

from typing import Any, cast

from airflow_restore_replay.core.flavor.quoting import literal
from airflow_restore_replay.core.flavor.sql import run
from airflow_restore_replay.core.flavor.values import Conn


def return_bytes(conn: Conn) -> None:
    """Make *conn* return every text as the bytes that the server stores."""
    cast("Any", conn).use_unicode = False
    run(conn, "SET SESSION character_set_results = binary")


def execute(conn: Conn, statement: bytes) -> None:
    """Execute *statement*, which the server reads as one statement."""
    # The driver sends bytes as they are. It never asks for multiple statements.
    run(conn, cast("str", statement))


def text(value: bytes) -> str:
    """Return a name, which every server keeps in UTF-8."""
    return value.decode()


def setting(value: str) -> str:
    """Return the value of a session variable for a SET statement."""
    return value if value == "DEFAULT" or value.replace(".", "", 1).isdigit() else literal(value)
