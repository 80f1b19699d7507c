"""The state of a cluster from what a real cycle records, while it runs and after it."""

from __future__ import annotations

from airflow_restore_replay.core.fleet.fleet import Fleet
from airflow_restore_replay.core.fleet.metrics import metrics_text
from airflow_restore_replay.core.fleet.state import ClusterState, Severity
from airflow_restore_replay.core.jobs.protocol import JobState
from airflow_restore_replay.core.repository.format.records import Outcome
from tests.support.flavors import Kit, on_both
from tests.support.rig import Rig


@on_both
def test_a_cycle_is_seen_while_it_runs_and_measured_after(rig: Rig, backup_id: str, kit: Kit) -> None:
    fleet = Fleet([rig.cluster()])
    seen: list[ClusterState] = []

    def look(step: str, state: JobState | None) -> None:
        if state is not None:
            seen.extend(fleet.states())

    rig.primary.execute("SET GLOBAL binlog_expire_logs_seconds = 777600")
    rig.primary.execute("INSERT INTO shop.orders (customer, total) VALUES ('seen', 1)")
    report = rig.cycle(watch=look)
    new_id = rig.published(report)
    told = [state.running for state in seen if state.running]
    assert {holder.run for holder in told} == {report.run}
    assert all(holder.live for holder in told)
    assert {"replay.restore", "replay.catch_up", "replay.validate", "replay.snapshot"} <= {
        h.step for h in told
    }

    (state,) = fleet.states()
    assert (state.error, state.running, state.severity) == (None, None, Severity.OK), state.findings
    assert state.fresh.backup_id == new_id
    assert state.proven is not None
    assert (state.proven.backup_id, state.proven.by, state.proven.run) == (backup_id, "replay", report.run)
    assert state.last is not None
    assert (state.last.outcome, state.last.run) == (Outcome.PUBLISHED, report.run)
    assert state.cycle is not None
    assert set(state.cycle.phases) == {"fill", "catch_up", "validate", "snapshot"}
    assert state.cycle.transactions_per_s is not None
    assert state.rto.seconds is not None
    assert state.headroom is not None
    assert (state.headroom.base_id, state.headroom.keep_s) == (new_id, 777600.0)
    assert state.headroom.seconds is not None
    assert 0 < state.headroom.seconds <= 777600
    assert state.coverage is not None
    assert (state.coverage.never, state.coverage.cycles) != (0, None)
    assert state.amounts.logical == rig.catalog().backup(new_id).manifest.sizes.total_bytes
    assert f'restore_replay_up{{cluster="{state.cluster}"}} 1.0' in metrics_text([state])


def test_a_failed_cycle_is_a_warning_with_its_reason(rig: Rig, backup_id: str) -> None:
    report = rig.cycle(
        fallback="none", validate={"assertions": [{"name": "odd", "query": "SELECT 1", "expect": 2}]}
    )
    assert report.failure is not None
    (state,) = Fleet([rig.cluster()]).states()
    assert state.last is not None
    assert (state.last.outcome, state.last.step) != (Outcome.PUBLISHED, "")
    assert state.last.reason
    assert state.severity is not Severity.OK
