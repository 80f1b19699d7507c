"""Verifying on every store: what is found, in what order, and where it continues (fault S14)."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import JobCancelled, NoSuchBackup, Refused, StoreFailed
from airflow_restore_replay.core.repository.format.records import BackupState, Verification
from airflow_restore_replay.core.repository.format.refs import key_of
from airflow_restore_replay.core.repository.objects.lists import file_list_path
from airflow_restore_replay.core.repository.objects.record_store import manifest_path
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.verification.passes import FOLDERS, Scope
from airflow_restore_replay.core.repository.verification.verify import verify
from tests.contract.conftest import Place
from tests.support.backups import MIB, back_up, flip_one_bit


def objects(repository: Repository) -> list[str]:
    return sorted(i.path for folder in ("chunks/", "bundles/") for i in repository.store.list(folder))


def two_backups(repository: Repository, tree: Path) -> tuple[str, str]:
    old, _ = back_up(repository, tree, run="run-1")
    # Always the same bytes: which chunks share a folder decides what an interruption leaves undone.
    (tree / "shop" / "items.ibd").write_bytes(random.Random(2).randbytes(MIB))
    new, _ = back_up(repository, tree, run="run-2")
    return old.backup_id, new.backup_id


def ref_of(repository: Repository, backup_id: str, path: str) -> str:
    files = repository.load_files(repository.load_manifest(backup_id))
    ref = next(f for f in files if f.path == path).chunks[0]
    assert isinstance(ref, str)
    return ref


def object_of(ref: str) -> str:
    return f"chunks/{ref[:2]}/{ref}.0"


def test_all_is_well(place: Place, tree: Path) -> None:
    repository = place.open()
    two_backups(repository, tree)
    seen: list[tuple[int, int]] = []
    report = verify(repository, progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    assert (report.backups, report.chunks) == (2, len(objects(repository)))
    assert report.size_bytes == 4 * MIB + 5000 + 2 * MIB + 3 * MIB
    assert seen[0] == (0, report.size_bytes)
    assert seen[-1] == (report.size_bytes, report.size_bytes)
    (record,), _ = repository.records(Verification)
    assert (record.complete, record.chunks, set(record.folders)) == (True, report.chunks, set(FOLDERS))


@pytest.mark.parametrize("harm", [flip_one_bit, lambda d: d[:-1], lambda d: b"", None])
def test_s14_every_backup_that_a_bad_chunk_touches_is_listed(
    place: Place, tree: Path, harm: Callable[[bytes], bytes] | None
) -> None:
    repository = place.open()
    old, new = two_backups(repository, tree)
    shared, own = ref_of(repository, old, "ibdata1"), ref_of(repository, old, "shop/items.ibd")
    for ref in (shared, own):
        if harm:
            place.damage.write(object_of(ref), harm(place.damage.read(object_of(ref))))
        else:
            place.damage.remove(object_of(ref))
    report = verify(repository)
    assert not report.ok
    code = "ChunkCorrupt" if harm else "ChunkMissing"
    assert {(b.ref, b.failure.code, tuple(b.backups)) for b in report.bad} == {
        (shared, code, tuple(sorted((old, new)))),
        (own, code, (old,)),
    }
    assert report.chunks == 5, "damage does not end the verification"
    assert repository.catalog().verdicts == (), "it only reports"


def test_quarantine_only_when_asked(place: Place, tree: Path) -> None:
    repository = place.open()
    old, new = two_backups(repository, tree)
    place.damage.remove(object_of(ref_of(repository, new, "shop/items.ibd")))
    assert verify(repository).quarantined == []
    report = verify(repository, quarantine=True, by="somebody")
    assert report.quarantined == [new]
    (verdict,) = repository.catalog().backup(new).against
    assert (verdict.by, verdict.step, verdict.run) == ("somebody", "verify", f"verify/{report.pass_id}")
    assert repository.catalog().backup(old).state is BackupState.HEALTHY
    assert verify(repository, quarantine=True).quarantined == [], "once is enough"


def test_damaged_records_and_lists_are_never_zero_errors(place: Place, tree: Path) -> None:
    repository = place.open()
    old, new = two_backups(repository, tree)
    place.damage.write(manifest_path(old), b"")
    assert list(verify(repository).unreadable) == [manifest_path(old)]
    place.damage.write(file_list_path(repository.load_manifest(new).file_list), b"")
    report = verify(repository)
    assert list(report.bad_lists) == [new]
    assert not report.ok


def test_subsets_together_are_everything(place: Place, tree: Path) -> None:
    repository = place.open()
    two_backups(repository, tree)
    read = [verify(repository, Scope(subset=f"{n}/3")).chunks for n in (1, 2, 3)]
    assert sum(read) == len(objects(repository))
    for wrong in ("0/3", "4/3", "1/257", "1", "a/b", "1/0"):
        with pytest.raises(Refused, match="not n/t"):
            verify(repository, Scope(subset=wrong))


def test_one_backup(place: Place, tree: Path) -> None:
    repository = place.open()
    old, new = two_backups(repository, tree)
    place.damage.remove(object_of(ref_of(repository, old, "shop/items.ibd")))
    assert verify(repository, Scope(backup_id=new)).ok
    assert not verify(repository, Scope(backup_id=old)).ok
    with pytest.raises(NoSuchBackup):
        verify(repository, Scope(backup_id="20200101T000000Z-00000000"))


def test_an_interrupted_pass_goes_on(place: Place, tree: Path) -> None:
    repository = place.open()
    two_backups(repository, tree)
    seen = 0

    def after_two() -> bool:
        return seen >= 2

    def count(done: int, total: int) -> None:
        nonlocal seen
        seen += done > 0

    with pytest.raises(JobCancelled):
        verify(repository, threads=1, progress=count, cancelled=after_two)
    first = sum(r.chunks for r in repository.records(Verification)[0])
    assert 2 <= first < 5
    report = verify(place.open())
    assert report.resumed_folders > 0
    assert report.chunks == 5 - first
    again = verify(place.open())
    assert (again.chunks, again.resumed_folders) == (5, 0), "a completed pass is not continued"


def test_damage_found_before_an_interruption_is_found_again(place: Place, tree: Path) -> None:
    repository = place.open()
    old, _ = two_backups(repository, tree)
    for path in objects(repository):
        place.damage.write(path, b"x")
    seen = 0

    def count(done: int, total: int) -> None:
        nonlocal seen
        seen += done > 0

    with pytest.raises(JobCancelled):
        verify(repository, threads=1, progress=count, cancelled=lambda: seen >= 2)
    assert len(verify(repository).bad) == 5


def test_oldest_verified_first(place: Place, tree: Path) -> None:
    repository = place.open()
    two_backups(repository, tree)
    names = sorted(path.split("/")[1] for path in objects(repository))
    number = FOLDERS.index(names[0]) + 1
    verify(repository, Scope(subset=f"{number}/256"))
    order: list[str] = []
    read = repository.chunks.read
    repository.chunks.read = lambda ref, *a, **k: (order.append(key_of(ref)[:2]), read(ref, *a, **k))[1]  # type: ignore
    verify(repository, threads=1)
    assert order == [*(n for n in names if n != names[0]), *(n for n in names if n == names[0])]


def test_reading_is_enough(place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that may not write cannot keep the progress; everything else works."""
    two_backups(place.open(), tree)
    repository = place.open(write=False)

    def refuse(path: str, data: bytes) -> None:
        raise StoreFailed("Access denied.")

    monkeypatch.setattr(repository.store, "put_new", refuse)
    report = verify(repository)
    assert report.ok
    assert "Access denied" in report.unrecorded


def test_what_was_pruned_meanwhile_is_not_damage(
    place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = place.open()
    old, _ = two_backups(repository, tree)
    own = object_of(ref_of(repository, old, "shop/items.ibd"))

    def pruned(done: int, total: int) -> None:
        if done == 0:
            repository.store.delete(manifest_path(old))
            repository.store.delete(own)

    assert verify(repository, progress=pruned).ok
