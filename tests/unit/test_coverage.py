"""Which rows were compared when, over many cycles that each have time for a little."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from airflow_restore_replay.core.jobs.checks.rotation import Rotation
from airflow_restore_replay.core.jobs.compare.coverage import Coverage, TableCoverage
from airflow_restore_replay.core.jobs.compare.files import table_of
from airflow_restore_replay.core.jobs.compare.ranges import Pace

START = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = [f"shop.t{n}" for n in range(10)]


def cycle(carry: dict[str, Any], number: int, touched: set[str], room: int) -> Coverage:
    """A cycle that has time for *room* tables; what it leaves goes through JSON, as in a manifest."""
    coverage = Coverage.after(json.loads(json.dumps(carry)), START + timedelta(days=number))
    coverage.see(TABLES, set(TABLES) - touched)
    for name in [*coverage.first(), *coverage.rest()][:room]:
        coverage.resume(name, ("id",))
        coverage.finished(name)
    return coverage


def test_every_table_gets_its_turn() -> None:
    coverage = cycle({}, 0, set(TABLES), 4)
    assert coverage.summary() == {"never": TABLES[4:], "never_count": 6}
    coverage = cycle(coverage.carry(), 1, set(), 4)
    assert coverage.summary()["never"] == TABLES[8:]
    coverage = cycle(coverage.carry(), 2, set(), 4)
    assert coverage.summary() == {"cycles": 3, "since": "2026-01-01T00:00:00+00:00"}
    for number in range(3, 8):
        coverage = cycle(coverage.carry(), number, set(), 4)
        assert coverage.summary()["cycles"] <= 4
    assert len(coverage.carry()["times"]) <= 4


def test_what_changed_goes_first_and_counts_until_it_was_compared() -> None:
    carry = cycle({}, 0, set(TABLES), 10).carry()
    coverage = Coverage.after(carry, START + timedelta(days=1))
    coverage.see(TABLES, set(TABLES) - {"shop.t7"})
    assert coverage.first() == ["shop.t7"]
    assert coverage.summary()["changed_since_compared"] == 1
    later = Coverage.after(coverage.carry(), START + timedelta(days=2))
    later.see(TABLES, TABLES)
    assert later.first() == ["shop.t7"]
    later.resume("shop.t7", ())
    later.finished("shop.t7")
    assert later.first() == []
    assert later.last_good("shop.t1") == "2026-01-01T00:00:00+00:00"


def test_a_pass_over_a_large_table_goes_on_where_it_stopped() -> None:
    key = (7, "k", b"\x00\xff", Decimal("1.50"), date(2026, 2, 3), datetime(2026, 2, 3, 4, 5))  # noqa: DTZ001
    columns = ("a", "b", "c", "d", "e", "f")
    coverage = Coverage.after({}, START)
    coverage.see(["shop.big"], [])
    assert coverage.resume("shop.big", columns) is None
    coverage.stopped("shop.big", key)
    later = Coverage.after(json.loads(json.dumps(coverage.carry())), START + timedelta(days=1))
    later.see(["shop.big"], [])
    assert later.resume("shop.big", columns) == key
    later.finished("shop.big")
    # The pass began a cycle ago, and the table was written to since: it comes first again.
    assert later.tables["shop.big"] == TableCoverage(since=1, touched=2)
    assert later.first() == ["shop.big"]


def test_a_pass_by_another_key_begins_anew() -> None:
    coverage = Coverage.after({}, START)
    coverage.see(["shop.big"], [])
    coverage.resume("shop.big", ("id",))
    coverage.stopped("shop.big", (5,))
    assert coverage.resume("shop.big", ("uuid",)) is None


def test_a_dropped_table_is_forgotten_and_a_new_one_was_never_compared() -> None:
    carry = cycle({}, 0, set(TABLES), 10).carry()
    coverage = Coverage.after(carry, START + timedelta(days=1))
    coverage.see(["shop.t1", "shop.new"], ["shop.t1"])
    assert coverage.summary()["never"] == ["shop.new"]
    assert set(coverage.carry()["tables"]) == {"shop.t1", "shop.new"}


def test_chunks_take_about_half_a_second() -> None:
    pace = Pace(20_000)
    for _ in range(20):
        pace.took(pace.rows / 1000)  # a slow server: 1000 rows a second
    assert 400 <= pace.rows <= 600
    for _ in range(20):
        pace.took(pace.rows / 10_000_000)
    assert pace.rows == 200_000


def test_names_of_files() -> None:
    assert table_of("shop/orders.ibd") == "shop.orders"
    assert table_of("shop/a@002db#p#p0.ibd") == "shop.a-b"
    assert table_of("shop/@1q.ibd") == ""


def test_a_rotation_goes_on_after_what_came_last() -> None:
    names = ["c", "a", "b"]
    turn = Rotation(names, "")
    assert list(turn.until(lambda: turn.done == 2)) == ["a", "b"]
    assert (turn.unfinished, turn.carry) == ("1 of 3 are left for the next cycle", {"last": "b"})
    turn = Rotation(names, "b")
    assert list(turn.until(lambda: False)) == ["c", "a", "b"]
    assert (turn.unfinished, turn.carry) == ("", {})
    assert list(Rotation([], "x").until(lambda: True)) == []
