"""Faults S1–S3 for bundles, page deltas and chunk lists, and damage anywhere in a small repository."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import BackupFault, RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.records import FileEntry, Manifest, Outcome, Verification
from airflow_restore_replay.core.repository.format.refs import PageDelta, Piece, list_path, object_of
from airflow_restore_replay.core.repository.objects import lists
from airflow_restore_replay.core.repository.quarantine import quarantine_shared
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.verification.verify import verify
from tests.contract.conftest import Place
from tests.support.backups import back_up, flip_one_bit, tree_bytes
from tests.support.generations import kinds, make_varied_tree, next_backup, vary

ORDERS = "shop/orders.ibd"
SMALL = "shop/small.ibd"


@pytest.fixture(autouse=True)
def _lists_for_small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "INLINE_REFS", 1)


@dataclass
class Two:
    """A backup, and the next one, whose files are *tree*."""

    repository: Repository
    first: Manifest
    second: Manifest
    files: list[FileEntry]
    tree: Path

    def entry(self, path: str) -> FileEntry:
        return next(f for f in self.files if f.path == path)

    def object(self, kind: str) -> tuple[str, int, int]:
        """Return an object's name, and where in it what *kind* names is; the end 0 is the object's."""
        if kind == "list":
            entries = self.repository.load_entries(self.second)
            return list_path(next(e.list for e in entries if e.list)), 0, 0
        ref = self.entry(SMALL if kind == "piece" else ORDERS).chunks[0]
        if kind == "base":
            assert isinstance(ref, PageDelta)
            ref = ref.base
        piece = ref.pages if isinstance(ref, PageDelta) else ref
        if isinstance(piece, Piece):
            return object_of(piece), piece.offset, piece.offset + piece.stored_bytes
        assert isinstance(piece, str)
        return object_of(piece), 0, 0


@pytest.fixture
def two(place: Place, tmp_path: Path) -> Two:
    repository = place.open()
    first, files = back_up(repository, make_varied_tree(tmp_path / "one"))
    second, files = next_backup(repository, files, tmp_path / "two", vary, run="run-2")
    assert {"chunk", "piece", "delta"} <= kinds(files)
    return Two(repository, first, second, files, tmp_path / "two" / "data")


def _restore(repository: Repository, manifest: Manifest, target: Path) -> None:
    restore_tree(
        repository.chunks,
        repository.load_files(manifest),
        target,
        chunk_size_bytes=manifest.chunk_size_bytes,
        label=manifest.backup_id,
    )


def _swapped(data: bytes, begin: int, end: int) -> bytes:
    """Return *data* with other bytes, well formed by themselves, in the range's place."""
    return data[:begin] + data[begin:end][::-1] + data[end:]


HARMS: dict[str, Callable[[bytes, int, int], bytes]] = {
    "S1-bit-flip": lambda d, b, e: d[:b] + flip_one_bit(d[b:e]) + d[e:],
    "S2-truncated": lambda d, b, e: d[: (b + e) // 2],
    "S2-empty": lambda d, b, e: b"",
    "S3-other-bytes": _swapped,
}


def _harm(place: Place, two: Two, kind: str, harm: str) -> str:
    """Return name of the object that was damaged, or removed."""
    path, begin, end = two.object(kind)
    if harm == "S2-missing":
        place.damage.remove(path)
    else:
        data = place.damage.read(path)
        place.damage.write(path, HARMS[harm](data, begin, end or len(data)))
    return path


@pytest.mark.parametrize("harm", [*HARMS, "S2-missing"])
@pytest.mark.parametrize("kind", ["piece", "delta", "base", "list"])
def test_s1_s2_s3_damage_is_found_blamed_and_named(
    place: Place, two: Two, tmp_path: Path, kind: str, harm: str
) -> None:
    path = _harm(place, two, kind, harm)
    with pytest.raises(BackupFault) as caught:
        _restore(two.repository, two.second, tmp_path / "out")
    error = caught.value
    assert path in (error.evidence.get("object"), error.evidence.get("record"))
    assert error.evidence["backup"] == two.second.backup_id
    if kind != "list":
        assert error.evidence["file"] in str(error)
        assert two.second.backup_id in str(error)
    if kind in ("delta", "base") and harm in ("S1-bit-flip", "S3-other-bytes"):
        ref = two.entry(ORDERS).chunks[0]
        assert isinstance(ref, PageDelta)
        assert ref.name in str(error), "the chunk that cannot be made"

    report = verify(two.repository)
    assert not report.ok
    named = {b for bad in report.bad for b in bad.backups} | set(report.bad_lists)
    both = {two.first.backup_id, two.second.backup_id}
    assert named == (both if kind in ("piece", "base") else named | {two.second.backup_id})


@pytest.mark.parametrize("kind", ["piece", "delta", "base", "list"])
def test_backups_that_share_the_damage_are_quarantined_with_it(
    place: Place, two: Two, tmp_path: Path, kind: str
) -> None:
    third, _ = next_backup(two.repository, two.files, tmp_path / "three", lambda data: None, run="run-3")
    _harm(place, two, kind, "S1-bit-flip")
    with pytest.raises(BackupFault) as caught:
        _restore(two.repository, third, tmp_path / "out")
    verdict = two.repository.new_verdict(
        Outcome.QUARANTINED,
        "run-4",
        backup_id=third.backup_id,
        failure=Failure.of(caught.value),
    )
    two.repository.record(verdict)
    recorded = quarantine_shared(two.repository, two.repository.catalog(), verdict)
    sharing = {two.second.backup_id} | ({two.first.backup_id} if kind in ("piece", "base") else set())
    assert {v.backup_id for v in recorded} == sharing


def test_every_flipped_bit_is_found_before_the_next_publish(place: Place, two: Two, tmp_path: Path) -> None:
    """What a cycle does before it publishes: open, read the catalog, restore the base. Objects of both backups are
    damaged one at a time; leases hold no data, and are apart."""
    two.repository.record(two.repository.new_verdict(Outcome.RESTORED, "r", backup_id=two.first.backup_id))
    assert verify(two.repository).ok
    paths = [
        info.path
        for folder in ("chunks/", "bundles/", "lists/", "files/", "manifests/", "verdicts/", "verifications/")
        for info in two.repository.store.list(folder)
    ]
    found = dict.fromkeys({p.split("/")[0] for p in paths}, 0)
    assert set(found) >= {"chunks", "bundles", "lists", "files", "manifests", "verdicts", "verifications"}
    for number, path in enumerate(["repository.json", *paths]):
        sound = place.damage.read(path)
        place.damage.write(path, flip_one_bit(sound))
        assert _notices(place, two, tmp_path / str(number)), f"{path} was flipped and not noticed"
        place.damage.write(path, sound)
    out = tmp_path / "sound"
    _restore(place.open(), two.second, out)
    assert tree_bytes(out) == tree_bytes(two.tree)


def _notices(place: Place, two: Two, target: Path) -> bool:
    try:
        repository = place.open()
        if repository.catalog().unreadable or repository.records(Verification)[1]:
            return True
        for number, manifest in enumerate((two.second, two.first)):
            _restore(repository, manifest, target / str(number))
    except RestoreReplayError:
        return True
    return False
