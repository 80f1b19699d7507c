"""Transitions of the lease, with a clock of the test's own; also the interrupted ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from airflow_restore_replay.core.errors import LeaseHeld, LeaseLost, StoreFailed
from airflow_restore_replay.core.repository.lease import Lease
from airflow_restore_replay.core.repository.objects.lease_objects import LOG_LEASES, Doing, lease_folder
from airflow_restore_replay.core.repository.objects.record_store import sealed
from airflow_restore_replay.core.repository.store.base import ObjectMissing
from airflow_restore_replay.core.repository.store.local import LocalStore

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
TTL_S = 600.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


@pytest.fixture
def lease(store: LocalStore) -> Lease:
    return Lease(store, "orders")


def test_the_first_epoch_is_one(lease: Lease, clock: Clock) -> None:
    assert lease.holder() is None
    assert lease.acquire("a", TTL_S, clock) == 1
    holder = lease.holder()
    assert holder is not None
    assert (holder.owner, holder.epoch, holder.acquired_at) == ("a", 1, START)
    assert holder.expires_at == START + timedelta(seconds=TTL_S)


def test_cycles_and_the_archiver_do_not_exclude_each_other(
    store: LocalStore, lease: Lease, clock: Clock
) -> None:
    archiver = Lease(store, "orders", folder=LOG_LEASES)
    assert (lease.acquire("cycle", TTL_S, clock), archiver.acquire("archiver", TTL_S, clock)) == (1, 1)
    with pytest.raises(LeaseHeld, match="Run archiver holds the lease"):
        Lease(store, "orders", folder=LOG_LEASES).acquire("another", TTL_S, clock)
    archiver.renew("archiver", 1, clock)
    archiver.release("archiver", 1, clock)
    assert archiver.holder() is None
    assert lease.holder() is not None
    # Taking one deletes old objects of its own only.
    for number in range(2, 5):
        archiver.release("archiver", archiver.acquire("archiver", TTL_S, clock), clock)
        assert {i.path.split("/")[0] for i in store.list("logleases/")} == {"logleases"}, number
    assert len(list(store.list("leases/"))) == 1


def test_another_run_is_told_who_and_until_when(lease: Lease, clock: Clock) -> None:
    lease.acquire("dag/run-7", TTL_S, clock)
    with pytest.raises(LeaseHeld) as caught:
        lease.acquire("b", TTL_S, clock)
    for part in ("dag/run-7", "epoch 1", "2026-11-21 03:00:00Z", "2026-11-21 03:10:00Z"):
        assert part in str(caught.value)


def test_renewing_extends_and_an_expired_lease_of_nobody_else_is_renewed(lease: Lease, clock: Clock) -> None:
    lease.acquire("a", TTL_S, clock)
    clock.pass_s(500)
    lease.renew("a", 1, clock)
    clock.pass_s(500)
    with pytest.raises(LeaseHeld):
        lease.acquire("b", TTL_S, clock)
    clock.pass_s(5000)
    lease.renew("a", 1, clock)
    with pytest.raises(LeaseHeld):
        lease.acquire("b", TTL_S, clock)
    lease.check("a", 1)


def test_an_expired_lease_is_taken_over_and_fenced(lease: Lease, clock: Clock) -> None:
    lease.acquire("a", TTL_S, clock)
    clock.pass_s(TTL_S)
    assert lease.acquire("b", TTL_S, clock) == 2
    for call in (lease.renew, lease.check):
        with pytest.raises(LeaseLost, match="epoch 2 belongs to run b"):
            call("a", 1)
    with pytest.raises(LeaseHeld):
        lease.acquire("a", TTL_S, clock)


def test_a_released_lease_is_free_and_its_epoch_over(lease: Lease, clock: Clock) -> None:
    lease.acquire("a", TTL_S, clock)
    lease.release("a", 1, clock)
    for call in (lease.renew, lease.check):
        with pytest.raises(LeaseLost, match="it was released"):
            call("a", 1)
    assert lease.acquire("b", TTL_S, clock) == 2


def test_nobody_releases_for_another(lease: Lease, clock: Clock) -> None:
    lease.acquire("a", TTL_S, clock)
    with pytest.raises(LeaseLost):
        lease.release("b", 1, clock)
    lease.check("a", 1)


class NoDelete(LocalStore):
    """Credentials without the right to delete (X6)."""

    def delete(self, path: str) -> None:
        raise StoreFailed("Access denied.")


def test_no_right_to_delete_is_needed(tmp_path: Path, clock: Clock) -> None:
    lease = Lease(NoDelete(tmp_path), "orders")
    for number in range(1, 5):
        assert lease.acquire(f"run-{number}", TTL_S, clock) == number
        lease.release(f"run-{number}", number, clock)


class Interleaved(LocalStore):
    """Runs *between* once, just before the first create of a claim or renewal."""

    between: Callable[[], object] | None = None

    def put_new(self, path: str, data: bytes) -> None:
        if self.between and ("claim" in path or "renewal" in path):
            action, self.between = self.between, None
            action()
        super().put_new(path, data)


def test_losing_the_race_for_an_epoch_names_the_winner(tmp_path: Path, clock: Clock) -> None:
    store = Interleaved(tmp_path)
    winner = Lease(LocalStore(tmp_path), "orders")
    store.between = lambda: winner.acquire("winner", TTL_S, clock)
    with pytest.raises(LeaseHeld, match="winner"):
        Lease(store, "orders").acquire("loser", TTL_S, clock)


def test_a_claim_from_an_old_listing_does_not_win_a_forgotten_epoch(tmp_path: Path, clock: Clock) -> None:
    """The slow run saw epoch 1; meanwhile 2 and 3 and 4 came and 2 was deleted, so that its claim is free again."""
    store, plain = Interleaved(tmp_path), Lease(LocalStore(tmp_path), "orders")
    plain.acquire("one", TTL_S, clock)
    plain.release("one", 1, clock)

    def others() -> None:
        for epoch in (2, 3):
            assert plain.acquire(f"run-{epoch}", TTL_S, clock) == epoch
            plain.release(f"run-{epoch}", epoch, clock)
        assert plain.acquire("run-4", TTL_S, clock) == 4
        with pytest.raises(ObjectMissing):
            store.get("leases/000000000002/claim.json")

    store.between = others
    with pytest.raises(LeaseHeld, match="run-4"):
        Lease(store, "orders").acquire("slow", TTL_S, clock)
    plain.check("run-4", 4)


def test_a_renewal_that_crosses_a_takeover_is_lost(tmp_path: Path, clock: Clock) -> None:
    store, plain = Interleaved(tmp_path), Lease(LocalStore(tmp_path), "orders")
    plain.acquire("a", TTL_S, clock)
    clock.pass_s(TTL_S + 1)
    store.between = lambda: plain.acquire("b", TTL_S, clock)
    with pytest.raises(LeaseLost):
        Lease(store, "orders").renew("a", 1, clock)


def test_two_processes_of_a_run_renew_at_once(tmp_path: Path, clock: Clock) -> None:
    store, plain = Interleaved(tmp_path), Lease(LocalStore(tmp_path), "orders")
    plain.acquire("a", TTL_S, clock)

    def other_process() -> None:
        clock.pass_s(1)
        plain.renew("a", 1, clock)

    store.between = other_process
    Lease(store, "orders").renew("a", 1, clock)
    plain.check("a", 1)


def test_an_unreadable_lease_excludes(lease: Lease, store: LocalStore, clock: Clock, tmp_path: Path) -> None:
    lease.acquire("a", TTL_S, clock)
    (tmp_path / "leases/000000000001/claim.json").write_bytes(b"{")
    with pytest.raises(StoreFailed, match=r"leases/000000000001/claim\.json"):
        lease.acquire("b", TTL_S, clock)


class LeaseMachine(RuleBasedStateMachine):
    """At any time at most one run passes its check, whatever three runs do and however long they sleep."""

    OWNERS = ("a", "b", "c")

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.lease = Lease(LocalStore(Path(self.folder.name)), "orders")
        self.epochs: dict[str, int] = {}
        self.highest = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(owner=st.sampled_from(OWNERS))
    def acquire(self, owner: str) -> None:
        try:
            epoch = self.lease.acquire(owner, TTL_S, self.clock)
        except LeaseHeld:
            return
        assert epoch >= self.highest
        self.highest = epoch
        self.epochs[owner] = epoch

    @rule(owner=st.sampled_from(OWNERS))
    def renew(self, owner: str) -> None:
        if owner in self.epochs:
            try:
                self.lease.renew(owner, self.epochs[owner], self.clock)
            except LeaseLost:
                del self.epochs[owner]

    @rule(owner=st.sampled_from(OWNERS))
    def release(self, owner: str) -> None:
        if owner in self.epochs:
            self.lease.release(owner, self.epochs.pop(owner), self.clock)

    @rule(seconds=st.sampled_from([1.0, TTL_S / 2, TTL_S * 2]))
    def sleep(self, seconds: float) -> None:
        self.clock.pass_s(seconds)

    @invariant()
    def at_most_one_may_publish(self) -> None:
        passing = []
        for owner, epoch in self.epochs.items():
            try:
                self.lease.check(owner, epoch)
                passing.append(owner)
            except LeaseLost:
                pass
        assert len(passing) <= 1


LeaseMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestLeaseMachine = LeaseMachine.TestCase


@pytest.mark.parametrize("doing", [5, "x", {"step": 3}, {"done": -1}, {"eta_s": None}, {"done": 2**70}, [[]]])
def test_what_a_run_tells_never_makes_its_lease_unreadable(
    store: LocalStore, lease: Lease, clock: Clock, doing: object
) -> None:
    epoch = lease.acquire("a", TTL_S, clock)
    lease.doing = Doing(step="replay.restore", phase="restoring", done=5)
    lease.renew("a", epoch, clock)
    assert (holder := lease.holder())
    assert (holder.doing, holder.renewed_at) == (lease.doing, START)
    path = f"{lease_folder(epoch)}renewal-000002.json"
    times = {"renewed_at": START, "expires_at": START + timedelta(seconds=TTL_S)}
    store.put_new(path, sealed(json.dumps({"owner": "a", **times, "doing": doing}, default=_text).encode()))
    assert (holder := lease.holder())
    assert holder.doing in (None, Doing())
    lease.renew("a", epoch, clock)
    assert (holder := lease.holder())
    assert holder.doing == lease.doing


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
