"""How ``show`` speaks of what was compared."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_restore_replay.cli.show import coverage_text

NOW = datetime(2026, 8, 21, 3, 0, tzinfo=UTC)
ALL = {"cycles": 1, "since": "2026-08-21T03:00:00+00:00"}


def test_every_row_is_said_only_if_no_table_is_left_out() -> None:
    assert coverage_text({"coverage": ALL}, NOW).startswith("every row compared at least once in this cycle")
    said = coverage_text({"coverage": ALL, "uncompared": {"a.t": "excluded", "a.u": "engine"}}, NOW)
    assert said.startswith("every row of the other tables (2 are not compared, see above)")
    assert coverage_text({"coverage": {}}, NOW) == ""


def test_more_tables_than_are_named() -> None:
    named = {"never": ["a.t"], "never_count": 2}
    assert coverage_text({"coverage": named}, NOW) == "2 tables are not fully compared yet: a.t, …"
