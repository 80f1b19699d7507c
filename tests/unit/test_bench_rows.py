"""The benchmark's report: rows, bars, files; and that every row is explained."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.__main__ import GROUPS, chosen
from bench.rows import Row, merge_into, speed, table

DOCUMENT = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()


def test_a_row_is_held_against_its_bar() -> None:
    fast = speed("a", 100_000_000, 1.0, 3.0, 2.0)
    assert (fast.ours, fast.ratio, fast.ok) == (100.0, 3.0, True)
    assert speed("a", 1, 1.0, 1.5, 2.0).ok is False
    assert Row("b", 2, 100, "MB", 0.02, 0.03, at_most=True).ok is True
    assert Row("b", 4, 100, "MB", 0.04, 0.03, at_most=True).ok is False
    assert Row("c", 1, 1, "MB/s", 1.0, 5.0, excused="disk").ok is True


def test_results_replace_those_of_the_same_id(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    merge_into(path, [Row("a", 1, 1, "s", 1, 1), Row("b", 1, 1, "s", 1, 1)])
    merge_into(path, [Row("a", 2, 1, "s", 2, 1), Row("c", 1, 1, "s", 1, 1)])
    found = json.loads(path.read_text())
    assert [(one["id"], one["ratio"]) for one in found] == [("a", 2), ("b", 1), ("c", 1)]
    assert set(found[0]) == {"id", "ours", "theirs", "unit", "ratio", "bar", "ok"}


def test_the_table_fits() -> None:
    rows = [Row("x" * 32, 123456789.0, 1e9, "objects", 1234.5678, 1000, excused="disk and more of it")]
    assert max(len(line) for line in table(rows).splitlines()) <= 100


def test_a_row_is_chosen_by_the_beginning_of_its_id() -> None:
    assert chosen("") == list(GROUPS.values())
    for ids, measure in GROUPS.items():
        assert all(chosen(row_id) == [measure] for row_id in ids)
    with pytest.raises(SystemExit, match="no row 'nothing'"):
        chosen("nothing")


def test_every_row_is_explained() -> None:
    explained = set(re.findall(r"`([a-z0-9-]+/[a-z0-9-]+)`", DOCUMENT))
    assert {row_id for ids in GROUPS for row_id in ids} <= explained
