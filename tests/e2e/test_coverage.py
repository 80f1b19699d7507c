"""A comparison that has no time for all rows in one cycle."""

from __future__ import annotations

from typing import Any

from tests.support.flavors import on_both
from tests.support.rig import Rig
from tests.support.tamper import by_sql, tampered

#: time for one chunk a cycle
LITTLE = {"compare_budget": "1ms", "chunk_rows": 8000, "checks": ["same_data"]}


def carry_of(rig: Rig, backup_id: str) -> dict[str, Any]:
    """:returns: what that backup's comparison left to the next one."""
    checks = rig.catalog().backup(backup_id).manifest.checks
    return next(dict(c["carry"]) for c in checks if c["name"] == "same_data")


@on_both
def test_a_pass_goes_on_in_the_next_cycle_and_finds_what_is_wrong_there(rig: Rig, backup_id: str) -> None:
    compared = rig.catalog().backup(backup_id).manifest.compared
    assert compared["coverage"]["cycles"] == 1
    rig.primary.execute("UPDATE shop.orders SET note = CONCAT(note, '+') WHERE id = 7")
    second = rig.published(rig.cycle(validate=LITTLE))
    compared = rig.catalog().backup(second).manifest.compared
    assert (compared["rows"], compared["tables"]) == (8000, 1)
    assert compared["coverage"]["cycles"] == 2
    assert compared["coverage"]["changed_since_compared"] >= 1
    assert carry_of(rig, second)["tables"]["shop.orders"] == [1, 2, 2, ["id"], [8000]]

    wrong = tampered(rig, second, by_sql("UPDATE shop.orders SET total = total + 1 WHERE id IN (15, 15000)"))
    report = rig.cycle(validate=LITTLE)
    third = rig.published(report)
    assert report.quarantined == [wrong]
    failure = rig.against(wrong)[0].failure
    assert failure is not None
    (difference,) = failure.evidence["differences"]
    assert difference["key_range"] == "(8000, 16000]"
    assert difference["changed"]["keys"] == ["15000"]
    assert failure.evidence["last_good_comparison"]["shop.orders"].startswith("20")
    # The fresh full is new: nothing of it counts as compared before it was.
    assert carry_of(rig, third)["cycle"] == 1
    assert rig.catalog().backup(third).manifest.compared["coverage"]["never_count"] > 0
    rest = rig.published(rig.cycle())
    assert rig.catalog().backup(rest).manifest.compared["coverage"]["cycles"] <= 2


@on_both
def test_a_table_that_only_the_node_has(rig: Rig, backup_id: str) -> None:
    wrong = tampered(rig, backup_id, by_sql("CREATE TABLE shop.extra (id INT PRIMARY KEY)"))
    report = rig.cycle()
    rig.published(report)
    assert report.quarantined == [wrong]
    failure = rig.against(wrong)[0].failure
    assert failure is not None
    assert failure.evidence["added_tables"] == ["shop.extra"]
