"""Pruning on every store: what goes, what stays, and that no moment of it leaves half a backup."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_restore_replay.core.config.sections import Retention
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.errors import LeaseLost, NotReplayable, PruneUnsafe, StoreDenied, StoreFailed
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.records import (
    Condemned,
    FileEntry,
    Manifest,
    Outcome,
    PruneRecord,
    utc_now,
)
from airflow_restore_replay.core.repository.format.refs import objects_of
from airflow_restore_replay.core.repository.objects.lists import file_list_path, write_file_list
from airflow_restore_replay.core.repository.objects.record_store import manifest_path, write_record
from airflow_restore_replay.core.repository.pruning.plan import plan_prune
from airflow_restore_replay.core.repository.pruning.prune import PruneReport, prune
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.base import ObjectInfo, ObjectStore
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from airflow_restore_replay.core.repository.verification.verify import verify
from tests.contract.conftest import LocalDamage, Place, RemoteDamage
from tests.support.backups import MIB, aged_copy, back_up, manifest_for
from tests.support.proxy import Act, FaultyProxy
from tests.support.stores.s3 import CREDENTIALS
from tests.support.stores.seaweedfs import SeaweedFs

GRACE_S = 100


def later() -> datetime:
    """Past the grace period of all that was written just now, and past twice of it; within the clocks' tolerance."""
    return utc_now() + timedelta(seconds=240)


def policy(**rules: Any) -> Retention:
    found = Retention(**({"last": 1, "min_count": 1} | rules))
    # The configuration allows no such short one.
    msgspec.structs.force_setattr(found, "grace", GRACE_S)
    return found


def run_prune(
    repository: Repository,
    rules: Retention | None = None,
    *,
    now: Callable[[], datetime] = later,
    run: str = "pruner",
) -> PruneReport:
    epoch = repository.lease.acquire(run, ttl_s=600)
    try:
        return prune(repository, rules or policy(), run=run, epoch=epoch, now=now)
    finally:
        repository.lease.release(run, epoch)


def objects(store: ObjectStore) -> set[str]:
    return {
        info.path for folder in ("chunks/", "bundles/", "lists/", "files/") for info in store.list(folder)
    }


def needed(manifest: Manifest, files: list[FileEntry]) -> set[str]:
    paths = {path for entry in files for ref in entry.chunks for path in objects_of(ref)}
    return paths | {file_list_path(manifest.file_list)}


def two_backups(repository: Repository, tree: Path) -> tuple[Manifest, Manifest, set[str]]:
    """Return an older and a newer backup, and the objects that only the older one needs."""
    old, old_files = back_up(repository, tree, run="run-1")
    (tree / "shop" / "items.ibd").write_bytes(os.urandom(MIB))
    new, new_files = back_up(repository, tree, run="run-2")
    return old, new, needed(old, old_files) - needed(new, new_files)


def ids(repository: Repository) -> set[str]:
    return {m.backup_id for m in repository.catalog().manifests}


def test_manifests_first_bytes_a_grace_period_later(place: Place, tree: Path) -> None:
    repository = place.open()
    old, new, only_old = two_backups(repository, tree)
    before = objects(repository.store)
    assert len(only_old) == 2, "a chunk and the file list"

    first = run_prune(repository)
    assert (first.deleted, first.kept, first.freed_objects) == ([old.backup_id], 1, 0)
    assert ids(repository) == {new.backup_id}
    assert objects(repository.store) == before
    assert repository.condemned() == only_old
    assert first.condemned_bytes > MIB
    (record,), _ = repository.records(PruneRecord)
    assert [(p.backup_id, p.reason) for p in record.deleted] == [(old.backup_id, "no rule keeps it")]

    soon = run_prune(repository, now=utc_now)
    assert (soon.freed_objects, soon.condemned_objects) == (0, 0), "not before the grace period is over"

    second = run_prune(repository)
    assert (second.deleted, second.freed_objects) == ([], 2)
    assert second.freed_bytes == first.condemned_bytes
    assert objects(repository.store) == before - only_old
    assert verify(repository).ok

    run_prune(repository)
    assert repository.records(Condemned)[0] == [], "its record goes when nothing is left of it"
    assert run_prune(repository) == PruneReport("orders", kept=1)


def test_the_plan_says_the_same_in_bytes_and_changes_nothing(place: Place, tree: Path) -> None:
    repository = place.open()
    old, new, only_old = two_backups(repository, tree)
    older = aged_copy(repository, old.backup_id, days=5)
    before = {info.path for info in repository.store.list("manifests/")} | objects(repository.store)
    plan = plan_prune(place.open(write=False), policy(), timezone="UTC", now=later())
    assert set(plan.keep) == {new.backup_id}
    assert [d.backup_id for d in plan.delete] == [older, old.backup_id]
    sizes = sum(repository.store.size(path) or 0 for path in only_old)
    assert [d.frees_bytes for d in plan.delete] == [sizes, 0], "what both share counts once"
    assert {o.path for o in plan.condemn} == only_old
    assert {info.path for info in repository.store.list("manifests/")} | objects(repository.store) == before


def test_orphans_of_a_running_snapshot_survive_and_old_ones_go(place: Place, tree: Path) -> None:
    repository = place.open()
    back_up(repository, tree)
    (tree / "ibdata1").write_bytes(os.urandom(MIB))
    snapshot_tree(repository.chunks, tree)  # never published
    young = run_prune(repository, now=utc_now)
    assert (young.condemned_objects, young.freed_objects) == (0, 0)
    assert run_prune(repository).condemned_objects == 1
    assert run_prune(repository).freed_objects == 1
    assert verify(repository).ok


def test_a_condemned_chunk_is_not_reused_but_stored_beside(place: Place, tree: Path) -> None:
    """A process that is suspended while it deletes deletes only unreferenced objects when it resumes."""
    repository = place.open()
    old, _, only_old = two_backups(repository, tree)
    content = repository.load_files(old)
    run_prune(repository)
    # The very content comes back before its objects are gone.
    item = next(f for f in content if f.path == "shop/items.ibd")
    ref = item.chunks[0]
    assert isinstance(ref, str)
    (tree / "shop" / "items.ibd").write_bytes(repository.chunks.read(ref, MIB))
    again, files = back_up(place.open(), tree, run="run-3")
    assert needed(again, files).isdisjoint(only_old)
    condemned = repository.condemned()
    assert (
        write_file_list(repository.store, repository.codec, content, condemned=condemned)
        == f"{old.file_list}.1"
    )
    assert f"{ref}.1" in {ref for entry in files for ref in entry.chunks}
    for path in only_old:  # the sleeper
        repository.store.delete(path)
    assert verify(repository).ok


def test_a_condemned_chunk_that_a_late_manifest_refers_to_survives(place: Place, tree: Path) -> None:
    """A run that took its references before they were condemned, and published in spite of its lost lease."""
    repository = place.open()
    old, _, only_old = two_backups(repository, tree)
    run_prune(repository)
    write_record(repository.store, old)
    assert run_prune(repository, policy(last=3)).freed_objects == 0
    assert only_old <= objects(repository.store)
    assert verify(repository).ok
    assert old.backup_id in ids(repository)


def test_p3_the_last_healthy_backups_stay(place: Place, tree: Path) -> None:
    repository = place.open()
    one, _ = back_up(repository, tree)
    others = {aged_copy(repository, one.backup_id, days=d) for d in (10, 20)}
    assert run_prune(repository, policy(min_count=3)).deleted == []
    verdict = repository.new_verdict(Outcome.QUARANTINED, "r", backup_id=one.backup_id)
    repository.record(verdict)
    assert run_prune(repository, policy(min_count=2)).deleted == []
    assert ids(repository) == {one.backup_id, *others}


def test_x12_a_prune_that_would_delete_many_deletes_nothing(place: Place, tree: Path) -> None:
    repository = place.open()
    one, _ = back_up(repository, tree)
    old = {aged_copy(repository, one.backup_id, days=d) for d in (10, 20, 30)}
    report = run_prune(repository, policy(most_deleted=2))
    assert (report.deleted, report.kept, report.condemned_objects) == ([], 4, 0)
    assert "retention.most_deleted" in report.complaint
    assert ids(repository) == {one.backup_id, *old}
    plan = plan_prune(place.open(write=False), policy(most_deleted=2), timezone="UTC", now=later())
    assert {d.backup_id for d in plan.too_many} == old
    assert set(run_prune(repository, policy(most_deleted=3)).deleted) == old


def test_x12_the_store_says_when_a_manifest_was_written(place: Place, tree: Path) -> None:
    """Who can only create writes a backup of tomorrow, and one whose goal is of the next century."""
    repository = place.open()
    one, _ = back_up(repository, tree, run="run-1")
    two, _ = back_up(repository, tree, run="run-2")
    at = utc_now() - timedelta(days=3)
    forged = {
        "20990101T000000Z-00000001": {"created_at": at, "goal_read_at": utc_now() + timedelta(days=27_000)},
        "20990101T000000Z-00000002": {"created_at": utc_now() + timedelta(seconds=400)},
    }
    for number, (name, times) in enumerate(forged.items()):
        fields = {"backup_id": name, "lease_epoch": 100 + number, **times}
        write_record(repository.store, msgspec.structs.replace(one, **fields), repository.sealer)
    report = run_prune(repository, policy(last=2))
    assert report.deleted == []
    assert set(report.doubtful) == set(forged)
    assert all(name in report.complaint for name in forged)
    assert ids(repository) == {one.backup_id, two.backup_id, *forged}


@pytest.mark.parametrize("outcome", [Outcome.QUARANTINED, Outcome.STRANDED])
def test_x12_a_verdict_counts_from_when_the_store_got_it(place: Place, tree: Path, outcome: Outcome) -> None:
    """Who can only create dates a verdict against a real backup back, so that its time to be kept is over."""
    repository = place.open()
    one, _ = back_up(repository, tree, run="run-1")
    two, _ = back_up(repository, tree, run="run-2")
    failure = Failure.of(NotReplayable("it is said to lack something"))
    old = repository.new_verdict(outcome, "r", backup_id=one.backup_id, failure=failure)
    repository.record(msgspec.structs.replace(old, at=utc_now() - timedelta(days=900)))
    assert run_prune(repository, policy(last=2, quarantined_within=Seconds("90d"))).deleted == []
    assert ids(repository) == {one.backup_id, two.backup_id}


@pytest.mark.parametrize("seconds", [-400, 400])
def test_s15_clock_skew_prunes_nothing(place: Place, tree: Path, seconds: int) -> None:
    repository = place.open()
    two_backups(repository, tree)
    before = ids(repository), objects(repository.store)
    with pytest.raises(PruneUnsafe, match="clock"):
        run_prune(repository, now=lambda: utc_now() + timedelta(seconds=seconds))
    assert (ids(repository), objects(repository.store)) == before
    assert repository.records(PruneRecord)[0] == []


class Listing:
    """A store whose listings lack an object."""

    def __init__(self, store: ObjectStore, hidden: str) -> None:
        self._store, self.hidden = store, hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return (info for info in self._store.list(prefix) if info.path != self.hidden)


def _hide(repository: Repository, path: str) -> None:
    repository.store = Listing(repository.store, path)


@pytest.mark.parametrize("what", ["manifest", "file list", "chunk"])
def test_s15_a_partial_listing_prunes_nothing(place: Place, tree: Path, what: str) -> None:
    repository = place.open()
    _, new, only_old = two_backups(repository, tree)
    aged_copy(repository, new.backup_id, days=9)
    repository.record(repository.new_verdict(Outcome.PUBLISHED, "run-2", published_id=new.backup_id))
    before = ids(repository), objects(repository.store)
    chunk = next(p for p in sorted(before[1] - only_old) if p.startswith("chunks/"))
    paths = {
        "manifest": manifest_path(new.backup_id),
        "file list": file_list_path(new.file_list),
        "chunk": chunk,
    }
    _hide(repository, paths[what])
    with pytest.raises(PruneUnsafe, match="not complete"):
        run_prune(repository)
    assert (ids(place.open()), objects(place.store())) == before


def test_a_chunk_that_is_really_gone_does_not_stop_pruning(place: Place, tree: Path) -> None:
    repository = place.open()
    old, new, only_old = two_backups(repository, tree)
    lost = next(p for p in sorted(objects(repository.store) - only_old) if p.startswith("chunks/"))
    place.damage.remove(lost)
    report = run_prune(repository)
    assert report.deleted == [old.backup_id]
    assert len(report.missing) == 1
    assert "verify" in report.complaint


@pytest.mark.parametrize("folder", ["manifests", "verdicts", "files"])
def test_an_unreadable_record_keeps_all_bytes(place: Place, tree: Path, folder: str) -> None:
    """What a damaged manifest needs is not known, nor what a damaged verdict says."""
    repository = place.open()
    old, new, _ = two_backups(repository, tree)
    aged_copy(repository, old.backup_id, days=3)
    verdict = repository.new_verdict(Outcome.FAILED, "r")
    repository.record(verdict)
    path = {
        "manifests": manifest_path(new.backup_id),
        "verdicts": f"verdicts/{verdict.verdict_id}.json",
        "files": file_list_path(new.file_list),
    }[folder]
    place.damage.write(path, b"damaged")
    before = objects(repository.store)
    for _ in range(2):
        assert run_prune(repository).withheld
    assert objects(repository.store) == before
    assert repository.condemned() == frozenset()
    if folder != "files":
        assert repository.records(PruneRecord)[0] == []


def test_o5_a_pruner_that_lost_its_lease_deletes_nothing(place: Place, tree: Path) -> None:
    sleeper, other = place.open(), place.open()
    two_backups(sleeper, tree)
    before = ids(sleeper), objects(sleeper.store)
    epoch = sleeper.lease.acquire("sleeper", ttl_s=60)
    an_hour_later = utc_now() + timedelta(hours=1)
    other.lease.acquire("other", ttl_s=600, now=lambda: an_hour_later)
    with pytest.raises(LeaseLost):
        prune(sleeper, policy(), run="sleeper", epoch=epoch, now=later)
    assert (ids(sleeper), objects(sleeper.store)) == before


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """A store that dies before, or after, the *nth* change."""

    def __init__(self, store: ObjectStore, nth: int, *, after: bool) -> None:
        self._store, self.left, self._after = store, nth, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_new(self, path: str, data: bytes) -> None:
        self._change(lambda: self._store.put_new(path, data))

    def delete(self, path: str) -> None:
        self._change(lambda: self._store.delete(path))

    def _change(self, change: Callable[[], None]) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1
        if self.left == 0 and not self._after:
            raise Killed
        change()
        if self.left == 0:
            raise Killed


@pytest.mark.parametrize("after", [False, True])
def test_o6_killed_anywhere_leaves_no_half_backup(place: Place, tree: Path, after: bool) -> None:
    repository = place.open()
    old, new, _ = two_backups(repository, tree)
    aged_copy(repository, old.backup_id, days=1)
    run_prune(repository, policy(last=3))
    deaths = 0
    for nth in range(1, 60):
        mortal = Mortal(place.store(), nth, after=after)
        dying = place.open()
        dying.store = mortal
        epoch = repository.lease.acquire("pruner", ttl_s=600)
        try:
            prune(dying, policy(), run="pruner", epoch=epoch, now=later)
        except Killed:
            deaths += 1
        else:
            break
        finally:
            repository.lease.release("pruner", epoch)
        assert verify(repository, restart=True).ok, f"after change {nth}"
        assert new.backup_id in ids(repository)
    assert deaths >= 2
    for _ in range(3):
        report = run_prune(repository)
    assert ids(repository) == {new.backup_id}
    assert objects(repository.store) == needed(new, repository.load_files(new))
    assert report.complaint == ""


class Locked:
    """A store that refuses to delete."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.tries = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, path: str) -> None:
        self.tries += 1
        raise StoreDenied(f"{path} cannot be deleted.")


def test_x6_without_the_right_to_delete_cycles_work_and_prune_says_so(place: Place, tree: Path) -> None:
    repository = place.open()
    old, new, _ = two_backups(repository, tree)
    locked = Locked(place.store())
    repository.store = locked
    report = run_prune(repository)
    assert (report.deleted, report.kept, report.denied_count) == ([], 2, 1)
    assert "right to delete" in report.complaint
    assert manifest_path(old.backup_id) in report.complaint
    assert repository.condemned() == frozenset(), "what a manifest needs that could not be deleted stays good"
    again, _ = back_up(repository, tree, run="run-9")
    assert again.backup_id in ids(repository)
    assert verify(repository).ok


def test_many_denials_are_not_all_tried(place: Place, tree: Path) -> None:
    repository = place.open()
    back_up(repository, tree)
    for number in range(30):
        repository.store.put_new(f"chunks/00/{number:064d}.0", b"orphan")
    run_prune(repository)
    locked = Locked(place.store())
    repository.store = locked
    report = run_prune(repository)
    assert (report.freed_objects, report.denied_count) == (0, 30)
    assert locked.tries == 10


def test_a_locked_object_is_reported_by_s3(s3_server: SeaweedFs, proxy: FaultyProxy, tree: Path) -> None:
    folder = s3_server.new_folder()
    damage = RemoteDamage(s3_server, folder)
    place = Place(s3_server.spec(folder, endpoint=proxy.endpoint), damage, CREDENTIALS)
    repository = place.open()
    old, _, only_old = two_backups(repository, tree)
    assert run_prune(repository).deleted == [old.backup_id]
    proxy.rule = lambda method, path: Act.DENY if method == "DELETE" else Act.PASS
    report = run_prune(repository)
    assert (report.freed_objects, report.denied_count, set(report.denied)) == (0, 2, only_old)
    assert "403 Forbidden" in report.complaint
    proxy.rule = lambda method, path: Act.PASS
    assert run_prune(repository).freed_objects == 2


def test_a_file_that_may_not_be_deleted_is_reported_locally(tmp_path: Path, monkeypatch: Any) -> None:
    from airflow_restore_replay.core.repository.store.local import LocalStore

    store = LocalStore(tmp_path)
    store.put_new("a/b", b"x")

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreDenied, match=r"a/b .* Operation not permitted"):
        store.delete("a/b")


def test_leftovers_of_interrupted_writes_go_past_the_grace_period(place: Place, tree: Path) -> None:
    if not isinstance(place.damage, LocalDamage):
        assert list(place.store().leftovers()) == []
        return
    repository = place.open()
    back_up(repository, tree)
    left = place.damage.root / "chunks" / "ab" / ".tmp-0123456789abcdef"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    run_prune(repository, now=utc_now)
    assert left.exists()
    run_prune(repository)
    assert not left.exists()


def test_a_store_that_fails_ends_pruning_loudly(place: Place, tree: Path) -> None:
    repository = place.open()
    old, new, _ = two_backups(repository, tree)

    class Failing(Locked):
        def delete(self, path: str) -> None:
            raise StoreFailed("The store does not answer.")

    repository.store = Failing(place.store())
    with pytest.raises(StoreFailed):
        run_prune(repository)
    assert ids(repository) == {old.backup_id, new.backup_id}


def test_a_snapshot_beside_a_pruner_is_kept_out_by_the_lease(place: Place, tree: Path) -> None:
    repository = place.open()
    epoch = repository.lease.acquire("cycle", ttl_s=600)
    files, sizes = snapshot_tree(repository.chunks, tree)
    with pytest.raises(LeaseLost):
        prune(place.open(), policy(), run="pruner", epoch=epoch, now=later)
    manifest = repository.publish(manifest_for(repository, run="cycle", epoch=epoch, sizes=sizes), files)
    assert verify(repository).ok
    assert ids(repository) == {manifest.backup_id}
