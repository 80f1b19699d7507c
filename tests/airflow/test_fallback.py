"""``fallback: older_base``, run by Airflow: the next healthy base first, a fresh full only after that."""

from __future__ import annotations

from airflow_restore_replay.core.repository.format.records import BackupState
from tests.airflow.support import Shipped
from tests.airflow.test_cycle import ALWAYS, FULL, REPLAY
from tests.support.tamper import by_sql, tampered

_NODE = ("create_node", "restore_backup", "catch_up", "validate", "snapshot", "destroy_node")
OLDER = {*(f"older.{name}" for name in _NODE), "choose_older", "diagnose_older"}


def test_a_good_base_needs_no_older_one(cycle: Shipped) -> None:
    cycle.configure(fallback="older_base")
    ran = cycle.run()
    assert ran.state == "success"
    assert ran.of("success") == ALWAYS | REPLAY | {"published", "prune"}
    assert ran.of("skipped") == FULL | OLDER | {"quarantine_backup", "quarantine_backup_older"}


def test_an_older_base_takes_the_place_of_a_bad_one(cycle: Shipped) -> None:
    cycle.configure(fallback="older_base")
    (good,) = cycle.rig.catalog().backups
    bad = tampered(cycle.rig, good.backup_id, by_sql("DELETE FROM shop.orders LIMIT 1"))
    ran = cycle.run()
    assert ran.state == "success"
    assert ran.of("failed") == {"replay.validate"}
    assert ran.of("skipped") == FULL | {"quarantine_backup_older"}
    assert ran.results["quarantine_backup"]["quarantined"] == [bad]
    catalog = cycle.rig.catalog()
    new = catalog.backup(ran.results["published"]["backup_id"])
    assert new.manifest.base.backup_id == good.backup_id
    assert catalog.backup(bad).state is BackupState.QUARANTINED
    cycle.rig.assert_nothing_left()


def test_a_fresh_full_is_taken_when_there_is_no_older_one_or_one_was_asked_for(cycle: Shipped) -> None:
    cycle.configure(fallback="older_base")
    (base,) = cycle.rig.catalog().backups
    forced = cycle.run(force_full=True)
    assert forced.state == "success"
    assert forced.of("success") >= FULL
    assert forced.of("skipped") >= OLDER
    for backup in (base, cycle.rig.catalog().backup(forced.results["published"]["backup_id"])):
        cycle.rig.flip_byte(cycle.rig.chunk_of(backup.backup_id, "shop/orders.ibd"))
    ran = cycle.run()
    assert ran.state == "success"
    assert {"choose_older", "quarantine_backup_older", *FULL} <= ran.of("success") | ran.of("skipped")
    assert ran.of("success") >= FULL
