"""``prove: restored``, run by Airflow: who waits for a backup hears of it once it was restored."""

from __future__ import annotations

from typing import Any

from airflow_restore_replay.core.repository.format.records import BackupState, Proof
from airflow_restore_replay.notifications import message
from tests.airflow.support import Shipped, asset_events, shipped_dag
from tests.airflow.test_cycle import ALWAYS, FULL, REPLAY

_NODE = ("create_node", "restore_backup", "validate", "destroy_node")
PROOF = {f"prove.{name}" for name in _NODE}


def test_the_new_backup_is_restored_before_anybody_hears_of_it(cycle: Shipped) -> None:
    cycle.configure(prove="restored")
    ran = cycle.run(deferrable=True)
    assert ran.state == "success"
    assert ran.of("success") == ALWAYS | REPLAY | PROOF | {"published", "proven", "prune"}
    assert ran.of("skipped") == FULL | {"quarantine_backup", "quarantine_backup_prove"}
    assert ran.results["published"]["proof"] == "read_back"
    assert ran.results["proven"] == ran.results["published"] | {"proof": "restored"}
    ((_, told),) = asset_events(ran.run_id)
    assert told == ran.results["proven"]
    new = cycle.rig.catalog().backup(told["backup_id"])
    assert (new.proof, new.state) == (Proof.RESTORED, BackupState.HEALTHY)
    assert new.proof_cost["seconds"] > 0
    cycle.rig.assert_nothing_left()


def test_a_new_backup_that_does_not_restore_is_quarantined_and_the_run_is_red(cycle: Shipped) -> None:
    cycle.configure(prove="restored")
    cycle.rig.primary.execute("INSERT INTO shop.orders (customer) VALUES ('damaged')")
    (older,) = cycle.rig.catalog().backups
    told: list[Any] = []

    def damage(_: Any) -> None:
        new_id = cycle.rig.catalog().backups[-1].backup_id
        cycle.rig.flip_byte(cycle.rig.chunk_of(new_id, "shop/orders.ibd"))

    dag = shipped_dag()
    dag.get_task("prove.create_node").on_execute_callback = [damage]
    dag.get_task("quarantine_backup_prove").on_quarantine = lambda context: told.append(
        (context["quarantine"], message(context).todo)
    )
    ran = cycle.run_dag(dag)
    assert ran.state == "failed"
    assert ran.of("failed") == {"prove.restore_backup"}
    assert ran.of("upstream_failed") == {"prove.validate", "proven", "prune"}
    assert ran.tries["prove.restore_backup"] == 1, "evidence is not tried again"
    assert "prove.destroy_node" in ran.of("success")
    assert asset_events(ran.run_id) == []
    catalog = cycle.rig.catalog()
    new = catalog.backups[-1]
    assert new.backup_id == ran.results["published"]["backup_id"]
    assert new.state is BackupState.QUARANTINED
    ((quarantine, todo),) = told
    assert (quarantine["quarantined"], quarantine["attempt"]) == ([new.backup_id], "prove")
    assert "the next run starts from the newest healthy backup" in todo
    assert "this run is red" in todo
    assert [b.backup_id for b in catalog.healthy()] == [older.backup_id]
    cycle.rig.assert_nothing_left()


def test_circumstance_fails_the_run_and_quarantines_nothing(cycle: Shipped) -> None:
    cycle.configure(prove="restored")
    dag = shipped_dag()

    def without_program(_: Any) -> None:
        cycle.configure(prove="restored", node={"bindir": "/nowhere"})

    dag.get_task("prove.create_node").on_execute_callback = [without_program]
    for task_id in PROOF:
        dag.get_task(task_id).cluster = "orders"
    ran = cycle.run_dag(dag)
    assert ran.state == "failed"
    assert "quarantine_backup_prove" in ran.of("skipped")
    assert ran.of("failed") == {"prove.restore_backup"}
    new = cycle.rig.catalog().backups[-1]
    assert (new.state, new.proof) == (BackupState.HEALTHY, Proof.READ_BACK)
    cycle.rig.assert_nothing_left()
