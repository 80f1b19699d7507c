"""Fault X41: whatever object is flipped, cut, deleted or swapped, ``verify`` finds it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import RestoreReplayError, StoreFailed
from airflow_restore_replay.core.repository.format.records import Outcome, Verification
from airflow_restore_replay.core.repository.objects import lists
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.verification.verify import VerifyReport, verify
from tests.contract.conftest import LocalDamage, Place
from tests.contract.test_prune import policy, run_prune
from tests.support.backups import back_up, flip_one_bit
from tests.support.keys import NEW, OLD

#: repositories with and without encryption: the keys at first, and later
KEYS = [pytest.param((), (), id="plain"), pytest.param((OLD,), (NEW, OLD), id="encrypted")]


@pytest.fixture
def here(tmp_path: Path) -> Place:
    root = tmp_path / "repository"
    return Place(RepositorySpec(url=root.as_uri()), LocalDamage(root))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """:returns: a tree with a chunk of its own, a bundle and a file with a chunk list."""
    monkeypatch.setattr(lists, "INLINE_REFS", 2)
    tree, noise = tmp_path / "tree", random.Random(1)
    tree.mkdir()
    (tree / "chunk.ibd").write_bytes(noise.randbytes(600_000))
    (tree / "piece.ibd").write_bytes(noise.randbytes(5_000))
    with open(tree / "large.ibd", "wb") as file:
        file.write(noise.randbytes(1_000))
        file.truncate(9 * 2**20)
    return tree


def filled(place: Place, tree: Path, first: tuple[str, ...], later: tuple[str, ...]) -> Repository:
    """:returns: a repository with objects of all kinds; those that no backup needs are condemned."""
    repository = place.open(*first)
    old, _ = back_up(repository, tree, run="run-1")
    (tree / "piece.ibd").write_bytes(b"another" * 900)
    repository = place.open(*later)
    one, _ = back_up(repository, tree, run="run-2")
    repository.record(repository.new_verdict(Outcome.QUARANTINED, "run-2", backup_id=one.backup_id))
    repository.record(repository.new_verdict(Outcome.RESTORED, "run-2", backup_id=old.backup_id))
    (tree / "piece.ibd").write_bytes(b"a third" * 900)
    two, _ = back_up(repository, tree, run="run-3")
    repository.record(repository.new_verdict(Outcome.PUBLISHED, "run-3", published_id=two.backup_id))
    assert run_prune(repository, policy(last=1, quarantined_within=9e9)).condemned_objects == 0
    bad = repository.new_verdict(Outcome.QUARANTINED, "run-3", backup_id=old.backup_id)
    repository.record(bad)
    assert run_prune(repository, policy(last=1, quarantined_within=1), run="again").deleted
    for _ in range(2):
        assert verify(repository, restart=True) == ANY_OK
    return repository


class _Ok:
    def __eq__(self, other: object) -> bool:
        assert isinstance(other, VerifyReport)
        assert other.ok, other
        return True


ANY_OK = _Ok()


def found(place: Place, keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> bool:
    """:returns: whether a verification finds anything; it leaves no record."""

    def refuse(path: str, data: bytes) -> None:
        raise StoreFailed("Access denied.")

    try:
        repository = place.open(*keys, write=False)
        monkeypatch.setattr(repository.store, "put_new", refuse)
        return not verify(repository, restart=True).ok
    except RestoreReplayError:
        return True


HARMS: dict[str, Callable[[bytes, bytes], bytes | None]] = {
    "flip": lambda data, other: flip_one_bit(data),
    "half": lambda data, other: data[: len(data) // 2],
    "delete": lambda data, other: None,
    "swap": lambda data, other: other,
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(("first", "later"), KEYS)
def test_x41_one_harm_to_any_object_is_found(
    here: Place,
    small: Path,
    first: tuple[str, ...],
    later: tuple[str, ...],
    harm: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository = filled(here, small, first, later)
    assert isinstance(here.damage, LocalDamage)
    root = here.damage.root
    newest = max(repository.records(Verification)[0], key=lambda v: v.at).verification_id
    paths = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    kinds = {path.partition("/")[0] for path in paths}
    assert kinds >= {"repository.json", "chunks", "bundles", "files", "lists", "manifests", "verdicts"}
    assert kinds >= {"leases", "prunes", "condemned", "verifications"} | ({"keys"} if first else set())
    # Nobody needs what is condemned. Without its last record, a repository is as it was a moment before.
    skipped = repository.condemned() | ({f"verifications/{newest}.json"} if harm == "delete" else set())
    unnoticed = []
    for path in paths:
        if path in skipped:
            continue
        data = here.damage.read(path)
        alike = [p for p in paths if p != path and p.split("/")[0] == path.split("/")[0]]
        other = here.damage.read((alike or [p for p in paths if p != path])[0])
        changed = HARMS[harm](data, other)
        info = (root / path).stat()
        if changed is None:
            here.damage.remove(path)
        else:
            here.damage.write(path, changed)
        if not found(here, later, monkeypatch):
            unnoticed.append(path)
        here.damage.write(path, data)
        (root / path).chmod(info.st_mode)
    assert unnoticed == []
    assert not found(here, later, monkeypatch)
