"""What people do to runs: O7 (clear), O8 (mark failed), O4 and O5 (two at once)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus
from airflow_restore_replay.core.repository.format.records import BackupState, Proof
from airflow_restore_replay.core.repository.quarantine import quarantine_by_hand
from tests.live.conftest import SLOW, Live
from tests.live.support import TASKS, WAITING, Case, Ended, holding, until
from tests.support.primary import Witness
from tests.support.tamper import witnessed

MODES = ("deferred", "synchronous")


def add_cases(live: Live) -> None:
    for mode in MODES:
        deferrable = mode == "deferred"
        live.case(f"cleared_{mode}", deferrable=deferrable, retries=1)
        live.case(
            f"failed_by_user_{mode}", deferrable=deferrable, transfer={"rate_limit": "3MB", "threads": 1}
        )
    live.case("collided", max_active_runs=4, transfer=SLOW["transfer"], lease={"wait": "5s", "ttl": "10m"})
    live.case("overtaken", max_active_runs=2, retries=0, lease={"wait": "10m", "ttl": "30s"})
    live.case(
        "backfilled",
        schedule="* * * * * */2",
        end_date=write_witness(live) + timedelta(seconds=4),
        prove="restored",
        lease={"wait": "10m", "ttl": "10m"},
    )


def write_witness(live: Live) -> datetime:
    """Return the time from which the primary was written to, for six seconds."""
    since = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    since += timedelta(seconds=since.second % 2)
    Witness(live.seeded.primary).write_until(since + timedelta(seconds=7))
    return since


def test_o7_cleared(live: Live) -> None:
    """One task, with downstream, the run: what was published stands, or is made again, or the task says where to
    clear from; never an empty backup or a verdict of the time before."""
    alone, whole = (live[f"cleared_{mode}"] for mode in MODES)
    runs = {case: case.trigger() for case in (alone, whole)}
    for case, run_id in runs.items():
        assert case.wait(run_id).state == "success"
    published = {case: case.result(run_id, "published")["backup_id"] for case, run_id in runs.items()}

    alone.clear(runs[alone], TASKS["validate"])
    whole.clear(runs[whole], "published")
    ended = again(alone, runs[alone])
    # The run stays green: what it published is still there.
    assert ended.of("failed") == {TASKS["validate"]}
    log = alone.log(runs[alone], TASKS["validate"])
    assert "WrongPhase" in log
    assert "Clear the run from the task restore_backup" in log
    assert again(whole, runs[whole]).state == "success"
    for case, backup_id in published.items():
        assert [b.backup_id for b in case.rig.catalog().backups][1:] == [backup_id]
        assert case.rig.verdicts_against() == []
        case.rig.assert_nothing_left()

    alone.clear(runs[alone], TASKS["restore"], downstream=True)
    whole.clear(runs[whole])
    assert again(alone, runs[alone]).state == "success"
    base, first, second = alone.rig.catalog().backups
    assert second.manifest.base.backup_id == base.backup_id, "choose_base was not cleared"
    assert alone.result(runs[alone], "published")["backup_id"] == second.backup_id

    ended = again(whole, runs[whole])
    assert ended.state == "success"
    assert TASKS["restore"] in ended.of("skipped"), "a run that has published makes no second backup"
    assert whole.result(runs[whole], "published")["backup_id"] == published[whole]
    quarantine_by_hand(whole.rig.repository(), published[whole], run="by hand", by="dba", reason="doubtful")
    whole.clear(runs[whole])
    assert again(whole, runs[whole]).state == "success"
    base, first, second = whole.rig.catalog().backups
    assert (first.backup_id, first.state) == (published[whole], BackupState.QUARANTINED)
    assert second.manifest.base.backup_id == base.backup_id
    assert whole.result(runs[whole], "published")["backup_id"] == second.backup_id
    for case in runs:
        case.rig.assert_nothing_left()


def again(case: Case, run_id: str) -> Ended:
    return case.wait(run_id, callbacks=False)


def test_o8_marked_failed(live: Live) -> None:
    """The job is cancelled at once, the node destroyed, the run red, and nothing is blamed."""
    cases = [live[f"failed_by_user_{mode}"] for mode in MODES]
    runs = {case: case.trigger() for case in cases}
    for case, run_id in runs.items():
        until(f"{case.name} to wait for bytes", lambda c=case, r=run_id: _restoring(c, r))  # type: ignore[misc]
    for case, run_id in runs.items():
        case.mark_failed(run_id, TASKS["restore"])
    for case in cases:
        job = until(f"the job of {case.name} to end", lambda c=case: _ended_job(c), pause_s=0.02)  # type: ignore[misc]
        assert job.failure.code == "JobCancelled"
    for case, run_id in runs.items():
        ended = case.wait(run_id)
        assert ended.state == "failed"
        assert {TASKS["restore"], "diagnose"} == ended.of("failed")
        assert ended.tasks["replay.destroy_node"]["state"] == "success"
        assert case.rig.verdicts_against() == []
        assert len(case.rig.catalog().backups) == 1
        case.rig.assert_nothing_left()


def _restoring(case: Case, run_id: str) -> bool:
    job = case.running_job("restore")
    waits = case.tasks(run_id)[TASKS["restore"]]["state"] in WAITING
    return waits and job is not None and job.progress.done > 0


def _ended_job(case: Case) -> JobState | None:
    return next((job for job in case.jobs() if job.status is not JobStatus.RUNNING), None)


def test_o4_o5_two_runs_at_once(live: Live) -> None:
    """O4: who does not get the lease waits, and then fails naming the holder; so do the runs of a backfill, which
    Airflow starts all at once. O5: who stands still past its lease's time is overtaken, and publishes nothing."""
    case, overtaken, backfilled = live["collided"], live["overtaken"], live["backfilled"]
    ends = create_backfill(live, backfilled)
    first, stuck = case.trigger(), overtaken.trigger()
    with holding([(case, first, "restore"), (overtaken, stuck, "snapshot")]) as (one, _):
        hasty = [case.trigger() for _ in range(2)]
        winner = overtaken.trigger()
        for run_id in hasty:
            ended = case.wait(run_id)
            assert ended.state == "failed"
            assert ended.of("failed") == {"acquire_lease"}
            assert ended.tasks["acquire_lease"]["try_number"] == 1
            log = case.log(run_id, "acquire_lease")
            assert f"Gave up waiting for the lease. Run collided/{first} holds the lease" in log
        case.configure(max_active_runs=4, lease={"wait": "5m", "ttl": "10m"})
        patient = case.trigger()
        until("the patient run to wait", lambda: case.tasks(patient)["acquire_lease"]["state"] == "deferred")
        assert overtaken.wait(winner).state == "success"
        one.assert_untouched()
    assert [case.wait(run_id).state for run_id in (first, patient)] == ["success", "success"]
    _, *new = case.rig.catalog().manifests
    assert [m.run for m in new] == [f"collided/{first}", f"collided/{patient}"]
    assert new[1].base.backup_id == new[0].backup_id

    assert overtaken.wait(stuck).state == "failed"
    _, *new = overtaken.rig.catalog().manifests
    assert [m.run for m in new] == [f"overtaken/{winner}"]
    assert [backfilled.wait(run_id).state for run_id in backfilled.runs()] == ["success"] * 3
    _, *backups = backfilled.rig.catalog().backups
    made = {b.manifest.as_of: b for b in backups}
    witness = Witness(live.seeded.primary)
    assert sorted(filter(None, made)) == ends
    for end, backup in made.items():
        assert end is not None
        assert witnessed(backfilled.rig, backup.backup_id, witness) == witness.before(end)
        assert backup.proof is Proof.RESTORED
    for done in (case, overtaken, backfilled):
        assert done.rig.verdicts_against() == []
        done.rig.assert_nothing_left()


def create_backfill(live: Live, case: Case) -> list[datetime]:
    """Backfill three intervals of two seconds each by Airflow's own command.

    :returns: their ends.
    """
    assert case.end_date is not None
    begins = [case.end_date - timedelta(seconds=seconds) for seconds in (4, 2, 0)]
    dates = ["--from-date", begins[0].isoformat(), "--to-date", begins[-1].isoformat()]
    live.stack.cli("backfill", "create", "--dag-id", case.name, *dates, "--max-active-runs", "3")
    return [begin + timedelta(seconds=2) for begin in begins]
