"""The checks of a node, each on real servers: what it finds, whom it blames, and what is kept of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.cycle.report import CycleReport
from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.quarantine import release_hold
from tests.e2e.conftest import OwnRig
from tests.support.flavors import on_both, on_either
from tests.support.primary import ROOT_PASSWORD, Primary, create_zoo
from tests.support.rig import Rig
from tests.support.tamper import by_sql, tampered

NewPrimary = Callable[..., Primary]


def checks_of(rig: Rig, backup_id: str) -> dict[str, dict[str, Any]]:
    """Return what the manifest keeps of each check."""
    return {c["name"]: c for c in rig.catalog().backup(backup_id).manifest.checks}


def source_failure(report: CycleReport, code: str) -> Failure:
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == (code, Blame.SOURCE)
    return report.failure


def quarantine(rig: Rig, report: CycleReport, backup_id: str, code: str) -> Failure:
    """Return why the base was quarantined; a fresh full took its place."""
    rig.published(report)
    assert report.quarantined == [backup_id]
    failure = rig.against(backup_id)[0].failure
    assert failure is not None
    assert (failure.code, failure.blame) == (code, Blame.BACKUP)
    return failure


@on_both
def test_every_check_runs_on_one_of_every_object(new_primary: NewPrimary, tmp_path: Path) -> None:
    """Nothing is found where nothing is wrong, and manifest and verdict tell what was looked at."""
    rig = Rig(new_primary(), tmp_path)
    with rig.primary.connect() as conn:
        create_zoo(conn, rig.primary.zoo)
    rig.primary.execute(
        "CREATE TABLE shop.canary (cluster VARCHAR(63) PRIMARY KEY, token CHAR(32) NOT NULL, "
        "written_at DATETIME NOT NULL)",
        "GRANT INSERT, UPDATE ON shop.canary TO restore_replay",
    )
    assertions = [{"name": "orders", "query": "SELECT COUNT(*) FROM shop.orders", "at_least": 20000}]
    rig.overrides["validate"] = {"canary": "shop.canary", "assertions": assertions}
    first = rig.full()
    rig.primary.execute(
        "CREATE VIEW shop.late AS SELECT 1 AS one",
        "CREATE PROCEDURE shop.late() SELECT 1",
        "CREATE TRIGGER shop.late BEFORE INSERT ON shop.notes FOR EACH ROW SET NEW.body = UPPER(NEW.body)",
        "CREATE EVENT shop.late ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.notes",
        "ALTER EVENT shop.late ON SCHEDULE EVERY 2 DAY",
        "CREATE USER late IDENTIFIED BY 'late-43c1'",
        "GRANT SELECT (id) ON shop.orders TO late",
    )
    second = rig.published(rig.cycle())
    assert rig.verdicts_against() == []
    assert "unfinished" not in checks_of(rig, second)["definitions"]
    found = checks_of(rig, second)
    assert list(found) == [
        *("goal_contained", "no_errant_transactions", "error_log", "canary", "assertions", "definitions"),
        *("cold_pages", "check_table", "drop_guard", "same_data"),
    ]
    assert all(c["passed"] and c["cost"] and c["seconds"] >= 0 for c in found.values())
    assert "arrived" in found["canary"]["observed"]
    assert "unchanged files" in found["cold_pages"]["observed"]
    assert found["drop_guard"]["carry"]["tables"] > 3
    (proof,) = [v for v in rig.catalog().backup(first).verdicts if v.outcome.value == "restored"]
    assert {c["name"] for c in proof.measured["validate"]["checks"]} == set(found)


@on_both
def test_an_assertion_that_holds_on_the_primary_only(rig: Rig, backup_id: str) -> None:
    wrong = tampered(rig, backup_id, by_sql("UPDATE shop.orders SET total = -1 WHERE id = 5"))
    question = {"name": "no debts", "query": "SELECT COUNT(*) FROM shop.orders WHERE total < 0", "expect": 0}
    report = rig.cycle(validate={"assertions": [question]})
    failure = quarantine(rig, report, wrong, "AssertionFailed")
    assert "no debts: 1 on the node" in failure.message
    (verdict,) = rig.against(wrong)
    assert [c["name"] for c in verdict.measured["checks"] if not c["passed"]] == ["assertions"]


@on_both
def test_an_assertion_that_holds_nowhere_is_the_primarys(rig: Rig, backup_id: str) -> None:
    question = {"name": "rich", "query": "SELECT MIN(total) FROM shop.orders", "at_least": 1000}
    failure = source_failure(rig.cycle(validate={"assertions": [question]}), "SourceUnexpected")
    assert "rich does not hold, on the primary either" in failure.message
    assert rig.against(backup_id) == []


@on_both
def test_an_assertion_that_is_no_query(rig: Rig, backup_id: str) -> None:
    question = {"name": "odd", "query": "SELECT nothing FROM shop.nowhere", "expect": 1}
    report = rig.cycle(validate={"assertions": [question]}, retries=0)
    assert report.failure is not None
    assert report.failure.code == "ConfigInvalid"
    assert "validate.assertions: odd" in report.failure.message
    assert rig.against(backup_id) == []


@on_both
def test_definitions_that_differ(rig: Rig, backup_id: str) -> None:
    wrong = tampered(
        rig,
        backup_id,
        by_sql(
            "CREATE VIEW shop.mine AS SELECT 1 AS one",
            "CREATE USER 'backdoor'@'%' IDENTIFIED BY 'not-it-98c1'",
        ),
    )
    failure = quarantine(rig, rig.cycle(), wrong, "DataMismatch")
    assert failure.tables == {"account backdoor.%", "view shop.mine"}
    assert "not-it-98c1" not in str(failure)


@on_both
def test_definitions_that_the_primary_changed_without_its_binary_log(
    new_primary: NewPrimary, tmp_path: Path
) -> None:
    """No backup is at fault: they are listed, also when later statements touch them, until a fresh full has them."""
    rig = Rig(new_primary(), tmp_path)
    rig.primary.execute("CREATE USER local@localhost IDENTIFIED BY 'first-71d0'")
    rig.full()
    rig.primary.execute(
        "SET SESSION sql_log_bin=0",
        "CREATE VIEW shop.mine AS SELECT 1 AS one",
        "ALTER USER local@localhost IDENTIFIED BY 'second-20ae'",
        "GRANT SELECT ON shop.notes TO local@localhost",
    )
    if rig.primary.flavor == "mariadb":
        upgrade = [
            rig.primary.program("mariadb-upgrade"),
            "--force",
            "-uroot",
            f"--socket={rig.primary.socket}",
        ]
        subprocess.run(
            upgrade, env=os.environ | {"MYSQL_PWD": ROOT_PASSWORD}, check=True, capture_output=True
        )
    expected = {"view shop.mine", "account local.localhost", "privileges on table local.localhost.shop.notes"}
    for _ in range(2):
        listed = checks_of(rig, rig.published(rig.cycle()))["definitions"]["unfinished"]
        assert {line.partition(": not as on the primary")[0] for line in listed.split("; ")} == expected
        rig.primary.execute(
            "GRANT PROCESS ON *.* TO local@localhost", "GRANT INSERT ON shop.* TO local@localhost"
        )
    assert rig.verdicts_against() == []
    assert "unfinished" not in checks_of(rig, rig.full())["definitions"]


@on_both
def test_a_primary_that_lost_its_rows(own_rig: OwnRig) -> None:
    rig = own_rig()
    first = rig.newest
    rig.primary.execute("TRUNCATE TABLE shop.orders")
    failure = source_failure(rig.cycle(), "SourceShrank")
    assert "rows in 3 tables" in failure.message
    assert rig.against(first) == []
    (hold,) = rig.catalog().held_by
    assert hold.failure == failure
    held = rig.cycle()
    assert hold.verdict_id in source_failure(held, "Held").hint
    assert held.steps == {}
    release_hold(rig.repository(), hold.verdict_id, by="somebody", reason="we meant it")
    made = rig.published(rig.cycle())
    assert rig.catalog().backup(made).manifest.base.backup_id == first


@on_both
def test_a_backup_that_lost_its_rows(rig: Rig, backup_id: str) -> None:
    wrong = tampered(
        rig, backup_id, by_sql("SET SESSION sql_log_bin=0", "DELETE FROM shop.orders WHERE id > 9")
    )
    failure = quarantine(rig, rig.cycle(), wrong, "DataMismatch")
    assert "drop_guard" in failure.message


@on_both
def test_statistics_that_lie(rig: Rig, backup_id: str) -> None:
    """By them the tables are large and were emptied; that makes the check count, and find them full."""
    lies = "n_rows = 1, clustered_index_size = 100000"
    of_shop = "database_name = 'shop' AND table_name IN ('orders', 'notes')"
    change = by_sql(
        "SET SESSION sql_log_bin=0", f"UPDATE mysql.innodb_table_stats SET {lies} WHERE {of_shop}"
    )
    tampered(rig, backup_id, change)
    known = dict(rig.primary.execute("SELECT 'shop.notes', COUNT(*) FROM shop.notes"))
    known |= dict(rig.primary.execute("SELECT 'shop.orders', COUNT(*) FROM shop.orders"))
    for _ in range(2):
        found = checks_of(rig, rig.published(rig.cycle()))["drop_guard"]
        assert found["carry"]["large"] == known
    assert rig.verdicts_against() == []


@on_both
def test_a_rotten_page_that_nobody_reads(rig: Rig, backup_id: str) -> None:
    def rot(data: Path) -> None:
        with (data / "shop/orders.ibd").open("r+b") as file:
            file.seek(60 * 16384 + 5000)
            file.write(b"\xa5" * 64)

    wrong = tampered(rig, backup_id, rot)
    report = rig.cycle(validate={"checks": ["cold_pages"]})
    failure = quarantine(rig, report, wrong, "TableCheckFailed")
    assert "shop/orders.ibd" in failure.message
    assert "cold_pages" in failure.message


@on_either
def test_a_time_box_leaves_the_rest_for_the_next_cycle(rig: Rig, backup_id: str) -> None:
    few = {"time_box": "1ms", "checks": ["check_table", "cold_pages"]}
    with rig.primary.connect() as conn:
        tables = len(get_flavor(rig.primary.flavor).tables(conn))
    seen = []
    for _ in range(2):
        found = checks_of(rig, rig.published(rig.cycle(validate=few)))
        assert found["check_table"]["unfinished"] == f"{tables - 1} of {tables} are left for the next cycle"
        seen.append((found["check_table"]["carry"]["last"], found["cold_pages"]["carry"]["last"]))
    assert "same_data" not in found
    assert len({table for table, _ in seen}) == len({file for _, file in seen}) == 2


@on_both
def test_a_canary_that_does_not_arrive(new_primary: NewPrimary, tmp_path: Path) -> None:
    """What writes it is not logged; everything else is."""
    rig = Rig(new_primary(), tmp_path, overrides={"validate": {"canary": "shop.canary"}})
    report = rig.cycle(retries=0)
    assert report.failure is not None
    assert report.failure.code == "ReplicationDenied"
    created, granted = report.failure.hint.split("; ")
    assert granted == "GRANT INSERT, UPDATE ON `shop`.`canary` TO restore_replay;"
    rig.primary.execute(
        created,
        granted,
        "CREATE TRIGGER shop.swallow BEFORE INSERT ON shop.canary FOR EACH ROW SET NEW.token = REVERSE(NEW.token)",
    )
    failure = source_failure(rig.cycle(), "SourceFiltered")
    assert "shop.canary did not arrive" in failure.message
