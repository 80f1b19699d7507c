"""The state of a cluster, from records alone."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decoding import encode
from airflow_restore_replay.core.fleet import recent
from airflow_restore_replay.core.fleet.fleet import Fleet
from airflow_restore_replay.core.fleet.recent import RememberingStore, open_remembering, recent_records
from airflow_restore_replay.core.fleet.state import ClusterState, Severity
from airflow_restore_replay.core.repository.format.records import Outcome, Proof
from airflow_restore_replay.core.repository.objects.lease_objects import Doing
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectMissing
from airflow_restore_replay.core.system.parallel import Overdue, run_within
from tests.support.fleets import SIZES, Member, make_fleet

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def orders(tmp_path: Path) -> Member:
    return make_fleet(tmp_path, ["orders"], drill={"rto_target": "50s"})["orders"]


def state_of(*members: Member, everything: bool = False) -> ClusterState:
    return Fleet([m.cluster for m in members], everything=everything).states()[0]


def codes(state: ClusterState) -> list[str]:
    return [finding.code for finding in state.findings]


def test_an_empty_repository_has_no_backup_and_no_zeros(orders: Member) -> None:
    state = state_of(orders)
    assert codes(state) == ["no-backup"]
    assert state.severity is Severity.CRITICAL
    assert (state.fresh.age_s, state.proven, state.last, state.logs, state.cycle) == (None,) * 5
    assert (state.amounts.logical, state.amounts.stored_a_day, state.rto.seconds) == (None,) * 3
    assert state.amounts.backups == 0


def test_a_healthy_cluster_has_all_its_numbers(orders: Member) -> None:
    notes = {"kept_logs": {"keep_s": 864000.0, "by_size": False}}
    coverage = {"coverage": {"cycles": 3, "since": "2026-11-28T03:00:00+00:00", "changed_since_compared": 2}}
    first = orders.cycle(2 * DAY)
    second = orders.cycle(HOUR, notes=notes, compared=coverage)
    state = state_of(orders)
    assert codes(state) == ["rto"]  # 60 s are expected
    assert state.fresh.backup_id == second.backup_id
    assert state.fresh.age_s == pytest.approx(3600, abs=60)
    assert state.proven is not None
    assert (state.proven.backup_id, state.proven.by) == (first.backup_id, "replay")
    assert state.last is not None
    assert (state.last.outcome, state.last.run) == (Outcome.PUBLISHED, second.run)
    assert state.cycle is not None
    assert state.cycle.phases == {"fill": 60.0, "catch_up": 30.0, "validate": 12.5, "snapshot": 20.0}
    assert state.rto.seconds is not None
    assert state.rto.meets_target is False
    assert state.coverage is not None
    assert (state.coverage.cycles, state.coverage.changed, state.coverage.never) == (3, 2, 0)
    assert state.headroom is not None
    assert state.headroom.until == second.goal_read_at + timedelta(days=10)
    assert [line.proof for line in state.backups] == [Proof.RESTORED, Proof.READ_BACK]
    assert state.amounts.stored == 2 * SIZES.stored_bytes
    assert state.complete


def test_a_stale_backup_is_critical_and_a_failed_run_a_warning(orders: Member) -> None:
    orders.cycle(2 * DAY)
    orders.failed(HOUR)
    state = state_of(orders)
    assert codes(state)[:2] == ["stale", "failed"]
    assert state.last is not None
    assert (state.last.blame, state.last.reason) == ("environment", "No space left for the node.")


def test_a_hold_is_critical_until_it_is_released(orders: Member) -> None:
    orders.cycle(HOUR)
    held = orders.verdict(timedelta(minutes=5), Outcome.HELD, reason="the primary lost rows")
    assert codes(state_of(orders))[0] == "held"
    orders.verdict(timedelta(minutes=1), Outcome.WITHDRAWN, attempt="", withdraws=[held.verdict_id])
    assert "held" not in codes(state_of(orders))


def test_a_running_cycle_tells_its_phase(orders: Member) -> None:
    lease = orders.repository.lease
    epoch = lease.acquire("dag/now", 600)
    assert (running := state_of(orders).running)
    assert (running.run, running.live, running.step, running.eta_s) == ("dag/now", True, "", None)
    lease.doing = Doing(step="replay.restore", phase="restoring", done=40, total=100, unit="bytes", eta_s=6.0)
    lease.renew("dag/now", epoch)
    assert (running := state_of(orders).running)
    assert (running.step, running.phase, running.done, running.total) == (
        "replay.restore",
        "restoring",
        40,
        100,
    )
    assert running.told_at is not None
    lease.release("dag/now", epoch)
    assert state_of(orders).running is None


def test_a_run_that_died_is_seen(orders: Member) -> None:
    orders.cycle(HOUR)
    orders.repository.lease.acquire("dag/dead", 60, lambda: orders.now - HOUR)
    orders.repository.log_lease.acquire("archive/dead", 60, lambda: orders.now - HOUR)
    state = state_of(orders)
    assert {"run-died", "archiver-died"} <= set(codes(state))


def test_the_archive_has_an_rpo_and_its_gaps_are_found_without_reading_all(orders: Member) -> None:
    orders.backup(HOUR)
    orders.archived(timedelta(seconds=30))
    state = state_of(orders)
    assert state.logs is not None
    assert state.logs.rpo_s == pytest.approx(30, abs=20)
    assert not state.logs.examined
    orders.gap(timedelta(seconds=20))
    state = state_of(orders)
    assert state.logs is not None
    assert state.logs.examined
    assert [gap.lacking for gap in state.logs.gaps] == ["0-1-201 to 0-1-300"]
    assert "gap" in codes(state)
    everything = state_of(orders, everything=True)
    assert everything.logs is not None
    assert everything.logs.end is not None


def test_headroom_that_ends_before_the_next_cycle_is_a_warning(orders: Member) -> None:
    orders.backup(HOUR, notes={"kept_logs": {"keep_s": 7200.0}})
    state = state_of(orders)
    assert state.headroom is not None
    assert state.headroom.seconds == pytest.approx(3600, abs=60)
    assert codes(state) == ["headroom"]


@pytest.mark.parametrize("keep_s", [None, 0.0, True, "7d", -1.0, 1e300])
def test_headroom_that_is_not_known_is_unknown(orders: Member, keep_s: object) -> None:
    orders.backup(HOUR, notes={"kept_logs": {"keep_s": keep_s}})
    state = state_of(orders)
    assert state.headroom is not None
    assert state.headroom.seconds is None


def test_records_of_any_content_give_a_state(orders: Member) -> None:
    odd = {"fill": 5, "catch_up": {"seconds": "x"}, "validate": [], "snapshot": {"seconds": True}, "drill": 3}
    orders.backup(HOUR, notes={"kept_logs": []}, compared={"coverage": {"since": "never", "cycles": "x"}})
    orders.verdict(HOUR, Outcome.PUBLISHED, measured=odd)
    orders.verdict(HOUR, Outcome.RESTORED, measured=odd, attempt="drill")
    state = state_of(orders)
    assert state.error is None
    assert state.cycle is not None
    assert state.cycle.phases == {}
    encode(state)


def test_a_damaged_lease_and_a_damaged_record_are_warnings(orders: Member, tmp_path: Path) -> None:
    made = orders.cycle(HOUR)
    orders.cycle(2 * DAY)
    orders.repository.lease.acquire("dag/now", 600)
    (tmp_path / "orders" / "leases" / "000000000001" / "claim.json").write_text("{}\n{}\n")
    (tmp_path / "orders" / "verdicts" / "20261101T000000Z-00000000.json").write_text("{}")
    state = state_of(orders)
    assert state.fresh.backup_id == made.backup_id
    assert set(state.unreadable) == {"leases/", "verdicts/20261101T000000Z-00000000.json"}
    assert codes(state).count("record") == 2


def test_only_the_newest_records_are_read(orders: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_MOST", 6)
    for days in range(20, 0, -1):
        orders.cycle(timedelta(days=days))
    found = recent_records(orders.repository)
    assert not found.complete
    assert found.backups == 20
    assert 0 < len(found.catalog.manifests) <= 3
    assert recent_records(orders.repository, everything=True).complete
    # Their state is right: the verdict about each of them was read.
    newest = found.catalog.manifests[-1].backup_id
    orders.verdict(timedelta(0), Outcome.QUARANTINED, backup_id=newest)
    assert newest not in [b.backup_id for b in recent_records(orders.repository).catalog.healthy()]


def test_more_records_are_read_until_a_healthy_backup_is_found(
    orders: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "_MOST", 3)
    good = orders.cycle(30 * DAY)
    for days in range(20, 0, -1):
        bad = orders.backup(timedelta(days=days))
        orders.verdict(timedelta(days=days) - HOUR, Outcome.QUARANTINED, backup_id=bad.backup_id)
    assert state_of(orders).fresh.backup_id == good.backup_id


def test_a_second_evaluation_reads_only_what_is_new(orders: Member) -> None:
    orders.cycle(HOUR)
    asked: list[str] = []

    class Counting(RememberingStore):
        def get(self, path: str, *, max_bytes: int | None = None) -> bytes:
            asked.append(path)
            return super().get(path, max_bytes=max_bytes)

    def opened(cluster: Cluster) -> Repository:
        repository = Repository.of_cluster(cluster, write=False)
        repository.store = RememberingStore(Counting(repository.store))
        return repository

    fleet = Fleet([orders.cluster], opener=opened)
    assert fleet.states()[0].error is None
    asked.clear()
    new = orders.backup(timedelta(minutes=1))
    assert fleet.states()[0].fresh.backup_id == new.backup_id
    assert [path for path in asked if not path.startswith(("leases/", "logleases/"))] == [
        f"manifests/{new.backup_id}.json"
    ]


def test_records_stay_in_memory_within_a_bound_and_while_they_are_listed(orders: Member) -> None:
    first, second = (orders.backup(age * HOUR) for age in (2, 1))
    path = orders.repository.store.url.removeprefix("file://")
    names = [f"manifests/{manifest.backup_id}.json" for manifest in (first, second)]
    room = len(orders.repository.store.get(names[0])) + 10
    store = RememberingStore(orders.repository.store, most_bytes=room)
    both = [store.get(name) for name in names]
    for name in names:
        Path(path, name).write_text("changed")
    assert store.get(names[0]) == both[0]
    assert store.get(names[1]) == b"changed"
    Path(path, names[0]).unlink()
    assert [info.path for info in store.list("manifests/")] == names[1:]
    with pytest.raises(ObjectMissing):
        store.get(names[0])


def test_a_late_item_is_replaced_and_stops_no_other() -> None:
    release = threading.Event()

    def work(item: int) -> int:
        if item in (0, 2):
            release.wait(60)
        return item * 10

    found = dict(run_within(range(5), work, threads=1, limit_s=0.2))
    release.set()
    assert found == {0: Overdue(0.2), 1: 10, 2: Overdue(0.2), 3: 30, 4: 40}
    assert list(run_within([], work, threads=4, limit_s=1)) == []


def test_a_store_that_does_not_answer_stops_no_other_cluster(tmp_path: Path) -> None:
    members = make_fleet(tmp_path, ["dead", "good", "gone"])
    members["good"].backup(HOUR)
    release = threading.Event()

    def opened(cluster: Cluster) -> Repository:
        if cluster.name == "dead":
            release.wait(60)
        if cluster.name == "gone":
            raise OSError("no route")
        return open_remembering(cluster)

    fleet = Fleet([m.cluster for m in members.values()], limit_s=0.5, opener=opened)
    try:
        states = {state.cluster: state for state in fleet.states()}
        assert states["good"].error is None
        assert states["dead"].error is not None
        assert "did not answer within" in states["dead"].error.message
        assert states["gone"].error is not None
        assert states["gone"].severity is Severity.CRITICAL
        assert fleet.hanging
        # The next evaluation does not leave a second thread behind.
        before = threading.active_count()
        again = {state.cluster: state for state in fleet.states()}
        assert again["dead"].error is not None
        assert threading.active_count() <= before
    finally:
        release.set()


def test_the_worst_cluster_comes_first(tmp_path: Path) -> None:
    members = make_fleet(tmp_path, ["fresh", "old", "older", "warned", "empty"])
    members["fresh"].backup(HOUR)
    members["old"].backup(2 * DAY)
    members["older"].backup(9 * DAY)
    members["warned"].backup(HOUR)
    members["warned"].failed(timedelta(minutes=5))
    states = Fleet([m.cluster for m in members.values()]).states()
    assert [state.cluster for state in states] == ["empty", "older", "old", "warned", "fresh"]
