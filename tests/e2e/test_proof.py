"""``prove: restored``: the run restores the backup that it has just published, on a second node."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import msgspec

from airflow_restore_replay.core.cycle.report import CycleReport
from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus
from airflow_restore_replay.core.repository.catalog import Backup
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Proof
from airflow_restore_replay.core.repository.objects.record_store import encode_record, manifest_path
from tests.support.flavors import Kit, on_either
from tests.support.rig import Once, Rig, Watcher


def newest(rig: Rig) -> Backup:
    return rig.catalog().backups[-1]


def before_the_proof(act: Callable[[], None]) -> Watcher:
    """Return a watcher that acts when the new backup is published, before anything reads it."""

    def watch(step: str, state: JobState | None) -> None:
        if step == "prove.restore" and state is None:
            act()

    return watch


@on_either
def test_the_new_backup_is_restored_before_the_run_ends(rig: Rig, backup_id: str, kit: Kit) -> None:
    rig.primary.execute("INSERT INTO shop.orders (customer, total) VALUES ('proven', 1)")
    report = rig.cycle(prove="restored")
    new = rig.catalog().backup(rig.published(report))
    assert (report.proof, new.proof, new.state) == ("restored", Proof.RESTORED, BackupState.HEALTHY)
    assert new.manifest.proof is Proof.READ_BACK, "what held when it was published"
    (verdict,) = new.verdicts
    assert (verdict.outcome, verdict.attempt, verdict.run) == (Outcome.RESTORED, "prove", report.run)
    ran = {check["name"]: check for check in verdict.measured["validate"]["checks"]}
    assert list(ran) == ["error_log", "position", "cold_pages", "check_table"]
    assert all(check["passed"] for check in ran.values())
    assert verdict.measured["validate"]["position"] == new.manifest.position
    steps = report.steps
    took = steps["prove.restore"]["seconds"] + steps["prove.validate"]["seconds"]
    cost = new.proof_cost
    assert cost["seconds"] == round(took, 3)
    assert cost["bytes"] == new.manifest.sizes.total_bytes
    assert 0 < cost["fetched_bytes"] <= cost["bytes"]
    assert rig.verdicts_against() == []


def test_a_fresh_full_is_proven_in_the_same_way(rig: Rig, backup_id: str) -> None:
    new_id = rig.full(prove="restored")
    new = rig.catalog().backup(new_id)
    assert new.manifest.base.kind == "seed"
    assert new.proof is Proof.RESTORED
    assert new.proof_cost["seconds"] > 0


def assert_quarantined(rig: Rig, report: CycleReport, older: str, code: str) -> str:
    """Return the message of the evidence."""
    new = newest(rig)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == (code, Blame.BACKUP)
    assert not report.ok
    assert report.pruned is None, "a run that failed prunes nothing"
    assert report.quarantined == [new.backup_id]
    assert (new.state, new.proof) == (BackupState.QUARANTINED, Proof.READ_BACK)
    assert [(v.attempt, v.run) for v in new.against] == [("prove", report.run)]
    assert [b.backup_id for b in rig.catalog().healthy()] == [older]
    rig.restores(older)
    again = rig.cycle()
    assert again.base_id == older
    rig.published(again)
    return report.failure.message


def test_a_backup_that_is_damaged_before_its_proof_is_quarantined_and_the_run_is_red(
    rig: Rig, backup_id: str
) -> None:
    rig.primary.execute("INSERT INTO shop.orders (customer, total) VALUES ('damaged', 1)")

    def damage() -> None:
        chunk = rig.chunk_of(newest(rig).backup_id, "shop/orders.ibd")
        assert chunk != rig.chunk_of(backup_id, "shop/orders.ibd"), "only the new backup has it"
        rig.flip_byte(chunk)

    report = rig.cycle(watch=before_the_proof(damage), prove="restored")
    assert "shop/orders.ibd" in assert_quarantined(rig, report, backup_id, "ChunkCorrupt")


@on_either
def test_a_backup_at_another_position_than_its_manifest_says_is_quarantined(
    rig: Rig, backup_id: str, kit: Kit
) -> None:
    older = rig.catalog().backup(backup_id).manifest.position
    rig.primary.execute("INSERT INTO shop.orders (customer, total) VALUES ('elsewhere', 1)")

    def misplace() -> None:
        manifest = msgspec.structs.replace(newest(rig).manifest, position=older)
        path = rig.repository_dir / manifest_path(manifest.backup_id)
        path.write_bytes(encode_record(manifest, rig.repository().sealer))

    report = rig.cycle(watch=before_the_proof(misplace), prove="restored")
    assert "Check position failed" in assert_quarantined(rig, report, backup_id, "PositionMismatch")


def test_circumstance_leaves_the_new_backup_healthy_and_unproven(rig: Rig, backup_id: str) -> None:
    def kill_the_job() -> None:
        states = (
            msgspec.json.decode(p.read_bytes(), type=JobState) for p in rig.workdir.glob("*/jobs/*.json")
        )
        os.kill(next(s for s in states if s.status is JobStatus.RUNNING).process.pid, signal.SIGKILL)

    killer = Once("prove.restore", "restoring", kill_the_job)
    slowly = {"rate_limit": "60MB", "threads": 2}
    report = rig.cycle(watch=killer, prove="restored", retries=0, transfer=slowly)
    assert killer.done
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("AgentDied", Blame.ENVIRONMENT)
    assert rig.verdicts_against() == []
    new = newest(rig)
    assert (report.published_id, report.proof) == (new.backup_id, "read_back")
    assert (new.state, new.proof) == (BackupState.HEALTHY, Proof.READ_BACK)
    assert rig.cycle().base_id == new.backup_id
