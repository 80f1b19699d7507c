"""The shipped DAG, run by Airflow, on a real MariaDB."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import NodeGone, PruneUnsafe
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Proof
from airflow_restore_replay.hooks import ReplayNodeHook
from tests.airflow.conftest import HOME, shipped
from tests.airflow.support import Shipped, asset_events
from tests.support.backups import aged_copy
from tests.support.primary import BACKUP_PASSWORD, Primary

FULL = {
    f"full.{name}" for name in ("create_node", "seed", "catch_up", "validate", "snapshot", "destroy_node")
}
REPLAY = {
    f"replay.{name}"
    for name in ("create_node", "restore_backup", "catch_up", "validate", "snapshot", "destroy_node")
}
ALWAYS = {"acquire_lease", "choose_base", "diagnose", "release_lease"}


@pytest.fixture
def first(metadata_db: None, primary: Primary, tmp_path: Path) -> Iterator[Shipped]:
    """The shipped DAG, and no backup."""
    with shipped(tmp_path, primary) as dag:
        yield dag


def test_first_run_finds_no_base_and_publishes_a_full(first: Shipped) -> None:
    ran = first.run()
    assert ran.state == "success"
    assert ran.of("success") == ALWAYS | FULL | {"published", "prune"}
    assert ran.of("skipped") == REPLAY | {"quarantine_backup"}
    assert ran.failures == []
    (backup,) = first.rig.catalog().backups
    assert ran.results["published"]["backup_id"] == backup.backup_id
    assert ran.results["full.snapshot"]["backup_id"] == backup.backup_id
    assert backup.manifest.base.kind == "seed"
    assert asset_events(ran.run_id) == [
        (
            "restore_replay_orders",
            {
                "backup_id": backup.backup_id,
                "position": backup.manifest.position,
                "proof": "read_back",
                "cluster": "orders",
                "goal_read_at": backup.manifest.goal_read_at.isoformat(),
            },
        )
    ]
    first.rig.assert_nothing_left()


def test_ok(cycle: Shipped) -> None:
    (base,) = cycle.rig.catalog().backups
    cycle.rig.primary.execute("INSERT INTO shop.orders (customer) VALUES ('replayed')")
    ran = cycle.run()
    assert ran.state == "success"
    assert ran.of("success") == ALWAYS | REPLAY | {"published", "prune"}
    assert ran.of("skipped") == FULL | {"quarantine_backup"}
    assert ran.failures == []
    assert ran.results["replay.catch_up"]["transactions"] > 0
    new = cycle.rig.catalog().backup(ran.results["published"]["backup_id"])
    assert new.manifest.base.backup_id == base.backup_id
    assert cycle.rig.catalog().backup(base.backup_id).proof is Proof.RESTORED
    cycle.rig.assert_nothing_left()


def test_ok_when_everything_that_waits_is_deferred(cycle: Shipped) -> None:
    ran = cycle.run(deferrable=True)
    assert ran.state == "success"
    assert ran.of("success") == ALWAYS | REPLAY | {"published", "prune"}
    cycle.rig.assert_nothing_left()


def test_x1_no_password_in_metadata_database_or_output(
    cycle: Shipped, capfd: pytest.CaptureFixture[str]
) -> None:
    """XCom, rendered templates, serialized DAGs, triggers and all that the tasks print."""
    assert cycle.run(deferrable=True).state == "success"
    assert os.environ["AIRFLOW_CONN_ORDERS_PRIMARY"].count(BACKUP_PASSWORD) == 1
    printed = capfd.readouterr()
    assert "Job restore ended" in printed.out
    for text in (printed.out, printed.err, *(p.read_bytes().decode("latin-1") for p in HOME.rglob("*.db*"))):
        assert BACKUP_PASSWORD not in text
    cycle.rig.assert_nothing_left()


def test_forced_full(cycle: Shipped) -> None:
    ran = cycle.run(force_full=True)
    assert ran.state == "success"
    assert ran.of("skipped") == REPLAY | {"quarantine_backup"}
    manifest = cycle.rig.catalog().backup(ran.results["published"]["backup_id"]).manifest
    assert manifest.base.kind == "seed"
    cycle.rig.assert_nothing_left()


def test_named_base_that_does_not_exist_fails_the_run_and_blames_nothing(cycle: Shipped) -> None:
    ran = cycle.run(base_backup_id="20200101T000000Z-00000000")
    assert ran.state == "failed"
    assert ran.of("failed") == {"choose_base", "diagnose"}
    assert ran.tries["choose_base"] == 1
    assert ran.states["release_lease"] == "success"
    assert cycle.rig.verdicts_against() == []
    cycle.rig.assert_nothing_left()


def test_p5_what_doctor_would_refuse_fails_the_run_before_anything_is_copied(cycle: Shipped) -> None:
    """No program of a logical seed is on the node, and a full copy is asked for."""
    (base,) = cycle.rig.catalog().backups
    bindir = cycle.rig.root / "bin"
    bindir.mkdir()
    (bindir / "mariadbd").symlink_to(shutil.which("mariadbd") or "")
    cycle.configure(node={"bindir": str(bindir)})
    ran = cycle.run(force_full=True)
    assert ran.state == "failed"
    assert ran.tries["full.seed"] == 1, "a refusal is not retried"
    told = ran.errors["full.seed"]
    assert "PreflightFailed" in told
    assert "node program mariadb-dump: " in told
    assert "(expected: installed)" in told
    assert cycle.rig.against(base.backup_id) == []
    cycle.rig.assert_nothing_left()


def test_s1_flipped_byte_is_quarantined_and_a_fresh_full_published(cycle: Shipped) -> None:
    (base,) = cycle.rig.catalog().backups
    chunk = cycle.rig.chunk_of(base.backup_id, "shop/orders.ibd")
    cycle.rig.flip_byte(chunk)
    ran = cycle.run()
    assert ran.state == "success"
    assert ran.of("failed") == {"replay.restore_backup"}
    assert ran.tries["replay.restore_backup"] == 1, "a verdict is not retried"
    assert ran.failures == ["replay.restore_backup"]
    assert ran.of("upstream_failed") == {"replay.catch_up", "replay.validate", "replay.snapshot"}
    assert ran.of("success") == ALWAYS | FULL | {
        "replay.create_node",
        "replay.destroy_node",
        "quarantine_backup",
        "published",
        "prune",
    }
    announced = ran.results["quarantine_backup"]
    assert announced["quarantined"] == [base.backup_id]
    assert chunk.name.partition(".")[0] in announced["reason"]
    assert "shop/orders.ibd" in announced["reason"]
    catalog = cycle.rig.catalog()
    assert catalog.backup(base.backup_id).state is BackupState.QUARANTINED
    new = catalog.backup(ran.results["published"]["backup_id"])
    assert new.state is BackupState.HEALTHY
    assert new.manifest.base.kind == "seed"
    cycle.rig.restores(new.backup_id)
    cycle.rig.assert_nothing_left()


def test_fallback_that_fails_leaves_nothing_but_a_red_run(cycle: Shipped) -> None:
    """The base is damaged and the fresh full cannot be taken: quarantined, red, both nodes gone, lease released."""
    (base,) = cycle.rig.catalog().backups
    cycle.rig.flip_byte(cycle.rig.chunk_of(base.backup_id, "shop/orders.ibd"))
    cycle.configure(seed={"method": "physical", "prefix": ["false"]})
    ran = cycle.run()
    assert ran.state == "failed"
    assert ran.of("failed") == {"replay.restore_backup", "full.seed"}
    assert ran.tries["full.seed"] == 3
    assert ran.failures == ["replay.restore_backup", "full.seed"]
    assert ran.of("success") == ALWAYS | {
        "replay.create_node",
        "replay.destroy_node",
        "quarantine_backup",
        "full.create_node",
        "full.destroy_node",
    }
    assert cycle.rig.catalog().backup(base.backup_id).state is BackupState.QUARANTINED
    assert len(cycle.rig.catalog().backups) == 1
    cycle.rig.assert_nothing_left()


def test_node_that_cannot_be_destroyed_does_not_spoil_the_run(
    cycle: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup is published; the next run, or the reaper, removes the node."""

    def fails(hook: ReplayNodeHook, node: object) -> None:
        raise NodeGone("The host does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(ReplayNodeHook, "destroy", fails)
        ran = cycle.run()
    assert ran.state == "success"
    assert ran.of("failed") == {"replay.destroy_node"}
    assert ran.failures == ["replay.destroy_node"]
    assert ran.states["release_lease"] == "success"
    assert len(list(cycle.rig.workdir.iterdir())) == 1
    assert cycle.run().state == "success"
    cycle.rig.assert_nothing_left()


def test_only_prune_fails(cycle: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is red, the backup stays published, nothing is left behind."""
    store = cycle.rig.repository().store

    def fails(*args: object, **kwargs: object) -> None:
        raise PruneUnsafe("The clocks disagree.")

    with monkeypatch.context() as patched:
        patched.setattr("airflow_restore_replay.core.repository.pruning.prune.prune", fails)
        ran = cycle.run()
    assert ran.state == "failed"
    assert ran.of("failed") == {"prune"}
    assert ran.tries["prune"] == 3
    assert ran.failures == ["prune"]
    assert "clocks disagree" in ran.errors["prune"]
    assert ran.of("success") == ALWAYS | REPLAY | {"published"}
    published = cycle.rig.catalog().backup(ran.results["published"]["backup_id"])
    assert published.state is BackupState.HEALTHY
    assert list(store.list("prunes/")) == []
    cycle.rig.restores(published.backup_id)
    cycle.rig.assert_nothing_left()


def test_what_retention_lets_go_is_pruned_at_the_end(cycle: Shipped) -> None:
    (base,) = cycle.rig.catalog().backups
    old = aged_copy(cycle.rig.repository(), base.backup_id, days=400)
    cycle.configure(retention={"last": 1, "min_count": 1})
    ran = cycle.run()
    assert ran.state == "success"
    assert ran.results["prune"]["deleted"] == [old]
    ids = {b.backup_id for b in cycle.rig.catalog().backups}
    assert ids == {base.backup_id, ran.results["published"]["backup_id"]}, "younger than the grace period"
    cycle.rig.assert_nothing_left()


def test_r4_primary_that_is_down_fails_the_run_and_quarantines_nothing(cycle: Shipped) -> None:
    (base,) = cycle.rig.catalog().backups
    cycle.rig.primary.kill()
    try:
        ran = cycle.run()
    finally:
        cycle.rig.primary.restart()
    assert ran.state == "failed"
    assert ran.of("failed") == {"replay.restore_backup", "diagnose"}
    assert ran.tries["replay.restore_backup"] == 3, "circumstance is retried"
    assert ran.tries["diagnose"] == 1
    assert ran.failures == ["replay.restore_backup", "diagnose"]
    assert "PrimaryUnreachable" in ran.errors["diagnose"]
    assert ran.errors["diagnose"].endswith("Failed: replay.restore_backup.")
    assert ran.of("upstream_failed") > FULL - {"full.destroy_node"} | {
        "quarantine_backup",
        "published",
        "prune",
    }
    assert ran.states["replay.destroy_node"] == "success"
    assert ran.states["release_lease"] == "success"
    catalog = cycle.rig.catalog()
    assert [b.backup_id for b in catalog.healthy()] == [base.backup_id]
    assert cycle.rig.verdicts_against() == []
    assert {v.outcome for v in catalog.attempts(f"restore_replay_orders/{ran.run_id}")} == {Outcome.FAILED}
    cycle.rig.assert_nothing_left()


def test_environment_before_there_is_a_node(cycle: Shipped) -> None:
    """The node's work directory cannot be made: the setup fails, the run is red, no fallback hides it."""
    cycle.rig.workdir.write_text("not a directory")
    ran = cycle.run()
    cycle.rig.workdir.unlink()
    assert ran.state == "failed"
    assert ran.of("failed") == {"replay.create_node", "diagnose"}
    assert ran.of("success") == {"acquire_lease", "choose_base", "release_lease"}
    assert cycle.rig.verdicts_against() == []
    cycle.rig.assert_nothing_left()


def test_o4_another_run_holds_the_lease(cycle: Shipped) -> None:
    lease = cycle.rig.repository().lease
    epoch = lease.acquire("somebody/else", 60)
    ran = cycle.run()
    lease.release("somebody/else", epoch)
    assert ran.state == "failed"
    assert ran.of("failed") == {"acquire_lease"}
    assert ran.tries["acquire_lease"] == 1
    assert ran.of("upstream_failed") == set(ran.states) - {"acquire_lease"}
    assert len(cycle.rig.catalog().manifests) == 1
    cycle.rig.assert_nothing_left()
