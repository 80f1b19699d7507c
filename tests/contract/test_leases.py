"""One writer per cluster, on every store (invariant 6, fault O5)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import LeaseHeld, LeaseLost
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.contract.conftest import Place
from tests.support.backups import manifest_for


def test_one_of_many_runs_gets_it_and_the_others_learn_who(place: Place) -> None:
    place.open()

    def acquire(number: int) -> str | None:
        try:
            place.open().lease.acquire(f"run-{number}", ttl_s=600)
        except LeaseHeld as held:
            return str(held)
        return None

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(acquire, range(6)))
    holder = place.open().lease.holder()
    assert answers.count(None) == 1
    assert holder is not None
    assert holder.owner == f"run-{answers.index(None)}"
    assert all(a is None or (f"Run {holder.owner} holds" in a and "expires at" in a) for a in answers)


def test_the_same_run_re_enters_its_epoch(place: Place) -> None:
    lease = place.open().lease
    assert lease.acquire("run-1", ttl_s=600) == lease.acquire("run-1", ttl_s=600) == 1
    lease.release("run-1", 1)
    lease.release("run-1", 1)
    assert lease.holder() is None
    assert lease.acquire("run-1", ttl_s=600) == 2


def test_o5_a_run_that_slept_past_its_ttl_cannot_publish(place: Place, tree: Path) -> None:
    sleeper, other = place.open(), place.open()
    epoch = sleeper.lease.acquire("sleeper", ttl_s=60)
    files, sizes = snapshot_tree(sleeper.chunks, tree)

    an_hour_later = utc_now() + timedelta(hours=1)
    assert other.lease.acquire("other", ttl_s=600, now=lambda: an_hour_later) == epoch + 1

    manifest = manifest_for(sleeper, run="sleeper", epoch=epoch, sizes=sizes)
    with pytest.raises(LeaseLost, match="epoch 2 belongs to run other"):
        sleeper.publish(manifest, files)
    with pytest.raises(LeaseLost):
        sleeper.lease.check("sleeper", epoch)
    sleeper.lease.release("sleeper", epoch)
    other.lease.check("other", epoch + 1)
    assert other.catalog().manifests == ()


def test_a_run_cannot_publish_after_its_release(place: Place, tree: Path) -> None:
    repository = place.open()
    epoch = repository.lease.acquire("run-1", ttl_s=600)
    files, sizes = snapshot_tree(repository.chunks, tree)
    repository.lease.release("run-1", epoch)
    with pytest.raises(LeaseLost, match="released"):
        repository.publish(manifest_for(repository, run="run-1", epoch=epoch, sizes=sizes), files)


def test_old_epochs_are_forgotten_but_for_the_previous(place: Place) -> None:
    lease = place.open().lease
    for number in range(1, 6):
        epoch = lease.acquire(f"run-{number}", ttl_s=600)
        lease.renew(f"run-{number}", epoch)
        lease.release(f"run-{number}", epoch)
    folders = {info.path.split("/")[1] for info in place.store().list("leases")}
    assert folders == {"000000000004", "000000000005"}
