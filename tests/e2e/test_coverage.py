"""A comparison that has no time for all rows in one cycle."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pymysql
from pymysql.connections import Connection

from airflow_restore_replay.core.jobs.protocol import JobState
from tests.e2e.conftest import OwnRig
from tests.support.flavors import on_both, on_either
from tests.support.primary import Primary
from tests.support.rig import Once, Rig, later
from tests.support.tamper import by_sql, tampered

#: time for one chunk a cycle
LITTLE = {"compare_budget": "1ms", "chunk_rows": 8000, "checks": ["same_data"]}


def carry_of(rig: Rig, backup_id: str) -> dict[str, Any]:
    """Return what that backup's comparison left to the next one."""
    checks = rig.catalog().backup(backup_id).manifest.checks
    return next(dict(c["carry"]) for c in checks if c["name"] == "same_data")


@on_either
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


@contextlib.contextmanager
def busy(primary: Primary, threads: int) -> Iterator[list[Connection[Any]]]:
    """Keep so many of the primary's threads running."""
    connections = [primary.connect() for _ in range(threads)]

    def work(conn: Connection[Any]) -> None:
        with contextlib.suppress(pymysql.err.Error), conn.cursor() as cursor:
            cursor.execute("SELECT SLEEP(300)")

    workers = [threading.Thread(target=work, args=(conn,)) for conn in connections]
    for worker in workers:
        worker.start()
    try:
        yield connections
    finally:
        primary.execute(*(f"KILL {conn.thread_id()}" for conn in connections))
        for worker in workers:
            worker.join()


@on_either
def test_a_busy_primary_is_left_in_peace_until_the_time_is_over(rig: Rig, backup_id: str) -> None:
    """One chunk is compared all the same, so that there is progress; without the load, or the limit, all are."""
    some = {"checks": ["same_data"], "compare_budget": "4s", "chunk_rows": 1000, "pause_above": 12}
    with busy(rig.primary, 12):
        second = rig.published(rig.cycle(validate=some))
        compared = rig.catalog().backup(second).manifest.compared
        assert compared["paused_s"] > 2
        assert compared["tables"] == 1
        unlimited = rig.published(rig.cycle(validate=some | {"pause_above": None}))
        assert rig.catalog().backup(unlimited).manifest.compared["paused_s"] == 0
    third = rig.published(rig.cycle(validate=some))
    quiet = rig.catalog().backup(third).manifest.compared
    assert (quiet["paused_s"], quiet["tables"] > 1) == (0, True)
    assert rig.verdicts_against() == []


@on_both
def test_ddl_does_not_wait_for_the_comparison(own_rig: OwnRig) -> None:
    """Else it would wait until the time is over, and all who use the table with it."""
    rig = own_rig()
    tables = ("orders", "notes", "archive")
    altered: list[str] = []

    def alter(step: str, state: JobState | None) -> None:
        if step == "replay.validate" and state and state.progress.unit == "rows" and not altered:
            for table in tables:
                statement = f"ALTER TABLE shop.{table} ADD COLUMN added INT"
                rig.primary.execute("SET SESSION lock_wait_timeout = 5", statement)
                altered.append(table)

    with busy(rig.primary, 3):
        report = rig.cycle(
            watch=alter, validate={"chunk_rows": 100, "pause_above": 3, "compare_budget": "20s"}, retries=0
        )
    assert altered == [*tables]
    compared = rig.catalog().backup(rig.published(report)).manifest.compared
    assert compared["rows"] >= 100
    # Where only the end of the snapshot frees a table, the comparison ends; the next cycle continues.
    assert compared["ended_for_ddl"] is (rig.primary.flavor == "mariadb")
    second = rig.published(rig.cycle())
    rest = rig.catalog().backup(second).manifest.compared
    assert (rest["ended_for_ddl"], rest["coverage"]["cycles"] > 0) == (False, True)
    assert rig.verdicts_against() == []


@on_either
def test_a_primary_that_becomes_less_busy_is_gone_on_with(rig: Rig, backup_id: str) -> None:
    some = {"checks": ["same_data"], "compare_budget": "60s", "pause_above": 12}
    with busy(rig.primary, 12) as connections:

        def end_the_load() -> None:
            kills = [f"KILL QUERY {c.thread_id()}" for c in connections[:8]]
            later(3, lambda: None if rig.primary.execute(*kills) else None)

        watch = Once("replay.validate", "comparing", end_the_load)
        made = rig.published(rig.cycle(validate=some, watch=watch))
    compared = rig.catalog().backup(made).manifest.compared
    assert watch.done
    assert 1 < compared["paused_s"] < 30
    assert compared["coverage"]["cycles"] == 1


@on_either
def test_a_table_that_only_the_node_has(rig: Rig, backup_id: str) -> None:
    wrong = tampered(rig, backup_id, by_sql("CREATE TABLE shop.extra (id INT PRIMARY KEY)"))
    report = rig.cycle()
    rig.published(report)
    assert report.quarantined == [wrong]
    failure = rig.against(wrong)[0].failure
    assert failure is not None
    assert failure.evidence["added_tables"] == ["shop.extra"]


@on_both
def test_r15_columns_that_only_one_side_has(own_rig: OwnRig) -> None:
    """Found by the comparison of rows alone; such tables never count as compared."""
    rig = own_rig(overrides={"validate": {"checks": ["same_data"]}})
    rig.primary.execute(
        "SET sql_log_bin=0",
        "ALTER TABLE shop.orders DROP COLUMN note",
        "ALTER TABLE shop.notes ADD COLUMN more INT",
        "SET sql_log_bin=1",
        "INSERT INTO shop.notes VALUES ('new', 1)",
        "UPDATE shop.orders SET total = 1 WHERE id = 1",
    )
    (first,) = [b.backup_id for b in rig.catalog().backups]
    made = rig.published(rig.cycle())
    failure = rig.against(first)[0].failure
    assert failure is not None
    assert failure.code == "NotReplayable"
    assert "table shop.notes: columns only on the primary: more" in failure.message
    assert "table shop.orders: columns only on the node: note" in failure.message
    assert rig.catalog().backup(made).manifest.base.kind == "seed"
    later = rig.published(rig.cycle())
    assert rig.catalog().backup(later).manifest.base.backup_id == made
