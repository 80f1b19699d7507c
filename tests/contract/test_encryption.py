"""Faults S16 and X4: wrong, lost and rotated keys; forged records; and what an encrypted repository shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from airflow_restore_replay.core.config.sections import Retention
from airflow_restore_replay.core.errors import (
    Blame,
    ChunkCorrupt,
    KeyMissing,
    KeyRefused,
    ManifestCorrupt,
    NoSuchBackup,
    RestoreReplayError,
)
from airflow_restore_replay.core.repository.format.records import Manifest, Outcome, utc_now
from airflow_restore_replay.core.repository.format.refs import chunk_path, objects_of
from airflow_restore_replay.core.repository.format.seals import Seal, Sealer, checksum
from airflow_restore_replay.core.repository.objects.lists import file_list_path
from airflow_restore_replay.core.repository.objects.record_store import encode_record, manifest_path, sealed
from airflow_restore_replay.core.repository.pruning.prune import prune
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.transfer.restored_state import RestoredState
from airflow_restore_replay.core.repository.verification.verify import verify
from tests.contract.conftest import Place
from tests.support.backups import back_up, flip_one_bit, manifest_for, tree_bytes
from tests.support.generations import copy, kinds, make_varied_tree, next_backup, node, vary
from tests.support.keys import NEW, OLD, OTHER, key_id


def restored(repository: Repository, manifest: Manifest, target: Path) -> dict[str, bytes | None]:
    files = repository.load_files(manifest)
    restore_tree(repository.chunks_for(manifest), files, target, chunk_size_bytes=manifest.chunk_size_bytes)
    return tree_bytes(target)


def everything(place: Place) -> dict[str, bytes]:
    folders = ("chunks", "files", "manifests", "verdicts", "keys", "leases", "prunes", "condemned")
    paths = [info.path for folder in folders for info in place.store().list(f"{folder}/")]
    return {path: place.damage.read(path) for path in [*paths, "repository.json"]}


def refuses(place: Place, *keys: str, write: bool = True) -> RestoreReplayError:
    """Return why the repository cannot be opened; whatever it is, it blames no backup and changes nothing."""
    before = everything(place)
    with pytest.raises((KeyRefused, KeyMissing)) as caught:
        place.open(*keys, write=write)
    assert (caught.value.blame, caught.value.retryable) == (Blame.ENVIRONMENT, False)
    assert everything(place) == before
    assert not any(key in f"{caught.value}{caught.value.evidence}" for key in (OLD, NEW, OTHER))
    return caught.value


def test_a_backup_comes_back_and_the_store_sees_nothing_of_it(
    place: Place, tree: Path, tmp_path: Path
) -> None:
    (tree / "shop" / "secret.txt").write_bytes(b"a very secret line\n" * 300)
    repository = place.open(OLD)
    manifest, _ = back_up(repository, tree)
    assert manifest.key_id == repository.key_id == key_id(OLD)
    assert restored(place.open(OLD, write=False), manifest, tmp_path / "out") == tree_bytes(tree)
    stored = everything(place)
    names = {path.split("/")[-1].split(".")[0] for path in stored if path.startswith("chunks/")}
    for data in tree_bytes(tree).values():
        assert checksum(data or b"") not in names, "names are keyed"
    for path, data in stored.items():
        assert b"very secret" not in data
        assert b"secret.txt" not in data, f"{path} shows a file's name"
        for key in (OLD, OLD.upper()):
            assert key.encode() not in data
            assert bytes.fromhex(key) not in data
        assert not data.startswith(b"\x28\xb5\x2f\xfd"), f"{path} is a bare zstd frame"


def test_equal_content_is_stored_once_and_another_key_names_it_otherwise(place: Place, tree: Path) -> None:
    repository = place.open(OLD)
    first, files = back_up(repository, tree)
    second, again = back_up(repository, tree, run="run-2")
    whole = [[c for f in fs for c in f.chunks if isinstance(c, str)] for fs in (files, again)]
    assert whole[0] == whole[1] != []
    assert second.sizes.new_bytes < 10_000
    assert first.file_list != second.file_list, "pieces of bundles are reused from a base only"


def test_s16_wrong_key(place: Place, tree: Path) -> None:
    back_up(place.open(OLD), tree)
    for write in (True, False):
        error = refuses(place, OTHER, write=write)
        assert f"Wrong key: the repository {place.store().url} has {key_id(OLD)}" in error.message
        assert f"configured is {key_id(OTHER)}" in error.message
    place.open(OLD)


def test_s16_no_key_and_a_needless_key(place: Place, tree: Path) -> None:
    back_up(place.open(OLD), tree)
    for write in (True, False):
        assert "is encrypted" in refuses(place, write=write).message


def test_s16_a_plain_repository_is_not_written_to_with_a_key(place: Place, tree: Path) -> None:
    """Else whoever replaces the marker would get plain backups."""
    back_up(place.open(), tree)
    for write in (True, False):
        assert "not encrypted" in refuses(place, OLD, write=write).message


def test_s16_rotation(place: Place, tree: Path, tmp_path: Path) -> None:
    old, old_files = back_up(place.open(OLD), tree)
    refuses(place, NEW)
    both = place.open(NEW, OLD)
    new, new_files = back_up(both, tree, run="run-2")
    assert (old.key_id, new.key_id) == (key_id(OLD), key_id(NEW))
    assert new.sizes.new_bytes > 0
    assert new.sizes.reused_bytes == 0, "nothing is shared between keys"
    refs = [{r for f in files for r in f.chunks if r} for files in (old_files, new_files)]
    assert refs[0].isdisjoint(refs[1])
    for manifest, name in ((old, "old"), (new, "new")):
        assert restored(place.open(NEW, OLD, write=False), manifest, tmp_path / name) == tree_bytes(tree)
    report = verify(place.open(NEW, OLD))
    assert report.ok
    assert report.chunks == len(refs[0] | refs[1])
    catalog = place.open(NEW, OLD).catalog()
    assert [m.key_id for m in catalog.manifests] == [old.key_id, new.key_id]
    assert catalog.unreadable == {}


def test_s16_a_lost_key_is_found_before_the_cycle(place: Place, tree: Path, tmp_path: Path) -> None:
    old, _ = back_up(place.open(OLD), tree)
    new, _ = back_up(place.open(NEW, OLD), tree, run="run-2")
    error = refuses(place, NEW)
    assert isinstance(error, KeyMissing)
    assert key_id(OLD) in error.message
    assert old.backup_id in error.message
    assert new.backup_id not in error.message
    # Who only reads gets at what there is a key for, and the other backup is not blamed.
    reader = place.open(NEW, write=False)
    assert [m.backup_id for m in reader.catalog().manifests] == [old.backup_id, new.backup_id]
    assert restored(reader, new, tmp_path / "out") == tree_bytes(tree)
    with pytest.raises(KeyMissing, match=key_id(OLD)) as caught:
        reader.load_files(old)
    assert caught.value.blame is Blame.ENVIRONMENT


def test_s16_the_newer_key_is_lost(place: Place, tree: Path) -> None:
    """A worker with yesterday's configuration must not write on with the old key."""
    back_up(place.open(OLD), tree)
    new, _ = back_up(place.open(NEW, OLD), tree, run="run-2")
    error = refuses(place, OLD)
    assert isinstance(error, KeyMissing)
    assert new.backup_id in error.message
    catalog = place.open(OLD, write=False).catalog()
    assert (
        f"sealed with key {key_id(NEW)}, which is not available"
        in catalog.unreadable[manifest_path(new.backup_id)]
    )


def test_s16_an_old_key_goes_with_its_last_backup(place: Place, tree: Path) -> None:
    """Verdicts are kept for ever; they stay readable, else no chunk could ever be pruned again."""
    first = place.open(OLD)
    old, _ = back_up(first, tree)
    first.record(first.new_verdict(Outcome.RESTORED, "run-1", backup_id=old.backup_id))
    for number, run in enumerate(("run-2", "run-3")):
        (tree / "ibdata1").write_bytes(bytes([number]) * 5000)
        both = place.open(NEW, OLD)
        new, _ = back_up(both, tree, run=run)
        both.record(both.new_verdict(Outcome.RESTORED, run, backup_id=new.backup_id))
    policy = Retention(last=2, min_count=1)
    msgspec.structs.force_setattr(policy, "grace", 100)
    for run in ("run-4", "run-5"):
        repository = place.open(NEW, OLD)
        epoch = repository.lease.acquire(run, ttl_s=600)
        report = prune(
            repository,
            policy,
            run=run,
            epoch=epoch,
            timezone="UTC",
            now=lambda: utc_now() + timedelta(seconds=240),
        )
        repository.lease.release(run, epoch)
    assert report.freed_objects > 0
    alone = place.open(NEW)
    catalog = alone.catalog()
    assert catalog.unreadable == {}
    assert old.backup_id in [v.backup_id for v in catalog.verdicts]
    assert verify(alone).ok
    # And once more: what was learnt from the key before is passed on.
    place.open(OTHER, NEW)
    assert place.open(OTHER, NEW, write=False).catalog().unreadable == {}


def test_a_crash_before_the_first_key_check_is_made_up_for(place: Place) -> None:
    place.open(OLD)
    path = f"keys/{key_id(OLD)}.json"
    place.damage.remove(path)
    refuses(place, NEW)
    place.open(OLD, write=False)
    place.open(OLD)
    assert place.store().size(path)


@pytest.mark.parametrize(
    "harm",
    [flip_one_bit, lambda d: d[:30], lambda d: b"{}", lambda d: d.replace(b'"format":2', b'"format":3')],
)
def test_a_damaged_key_check_stops_writers_and_no_restore(
    place: Place, tree: Path, tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    manifest, _ = back_up(place.open(OLD), tree)
    path = f"keys/{key_id(OLD)}.json"
    place.damage.write(path, harm(place.damage.read(path)))
    assert path in refuses(place, OLD).message
    assert restored(place.open(OLD, write=False), manifest, tmp_path / "out") == tree_bytes(tree)
    place.damage.remove(path)
    place.open(OLD)


def test_every_bit_of_a_key_check_counts(place: Place) -> None:
    place.open(OLD)
    place.open(NEW, OLD)
    path = f"keys/{key_id(NEW)}.json"
    whole = place.damage.read(path)
    assert set(json.loads(whole)["records"]) == {key_id(OLD)}
    unnoticed = []
    for index in range(len(whole)):
        changed = bytearray(whole)
        changed[index] ^= 1 << index % 8
        place.damage.write(path, bytes(changed))
        try:
            place.open(NEW, OLD)
        except KeyRefused:
            continue
        unnoticed.append((index, whole[index : index + 1], bytes(changed[index : index + 1])))
    # A hex digit in the other case, or another white space, is the same content.
    assert all(one.lower() == other.lower() or one.isspace() for _, one, other in unnoticed), unnoticed
    place.damage.write(path, json.dumps(json.loads(whole) | {"records": {}}).encode())
    assert "does not decrypt" in refuses(place, NEW, OLD).message


def test_a_key_check_of_another_repository_is_none(place: Place, tree: Path) -> None:
    place.open(OLD)
    path = f"keys/{key_id(OLD)}.json"
    check = json.loads(place.damage.read(path))
    place.damage.write(path, json.dumps(check | {"repository_id": "00" * 16}).encode())
    assert "another key or repository" in refuses(place, OLD).message
    marker = json.loads(place.damage.read("repository.json").splitlines()[0]) | {"repository_id": "00" * 16}
    place.damage.write("repository.json", sealed(json.dumps(marker).encode()))
    assert "does not decrypt" in refuses(place, OLD).message


class _Stolen(Sealer):
    """Seals with a valid checksum, and a MAC that can be computed without the key."""

    def __init__(self, mac: str, key: str) -> None:
        super().__init__()
        self._given = mac, key

    def seal(self, body: bytes, path: str = "", after: Sequence[str] = (), key_id: str = "") -> Seal:
        return Seal(checksum(body), *self._given)


@pytest.mark.parametrize(
    ("sealer", "complaint"),
    [
        pytest.param(Sealer(), "no MAC", id="without-a-seal"),
        pytest.param(_Stolen("00" * 32, key_id(OLD)), "forged", id="made-up"),
        pytest.param(_Stolen("", key_id(OLD)), "forged", id="empty"),
        pytest.param(_Stolen("\u00fc" * 64, key_id(OLD)), "forged", id="not-hex"),
        pytest.param(_Stolen("00" * 32, key_id(OTHER)), "not available", id="of-a-stranger's-key"),
    ],
)
def test_x4_forged_records_are_not_believed(place: Place, tree: Path, sealer: Sealer, complaint: str) -> None:
    repository = place.open(OLD)
    manifest, _ = back_up(repository, tree)
    bad = repository.new_verdict(Outcome.QUARANTINED, "run-2", backup_id=manifest.backup_id)
    repository.record(bad)
    fake = msgspec.structs.replace(manifest, backup_id="20990101T000000Z-00000000", position="0-1-999")
    pardon = msgspec.structs.replace(
        bad, verdict_id="20990101T000000Z-00000000", outcome=Outcome.WITHDRAWN, withdraws=[bad.verdict_id]
    )
    place.damage.write(manifest_path(fake.backup_id), encode_record(fake, sealer))
    place.damage.write(f"verdicts/{pardon.verdict_id}.json", encode_record(pardon, sealer))
    catalog = place.open(OLD).catalog()
    assert set(catalog.unreadable) == {
        manifest_path(fake.backup_id),
        f"verdicts/{pardon.verdict_id}.json",
    }
    assert all(complaint in why for why in catalog.unreadable.values())
    assert catalog.healthy() == [], "the quarantine stands"
    with pytest.raises(NoSuchBackup):
        catalog.backup(fake.backup_id)
    with pytest.raises(ManifestCorrupt, match=complaint):
        repository.load_manifest(fake.backup_id)


def test_x4_a_record_with_a_stolen_seal_is_not_believed(place: Place, tree: Path) -> None:
    """A true seal belongs to one text."""
    repository = place.open(OLD)
    manifest, _ = back_up(repository, tree)
    path = manifest_path(manifest.backup_id)
    body, line = place.damage.read(path).splitlines()
    body = body.replace(b"0-1-100", b"0-1-999")
    seal = json.loads(line) | {"blake3": checksum(body)}
    place.damage.write(path, b"%s\n%s\n" % (body, json.dumps(seal).encode()))
    assert "forged" in repository.catalog().unreadable[path]


def test_x4_swapped_and_damaged_objects_are_found(place: Place, tree: Path, tmp_path: Path) -> None:
    repository = place.open(OLD)
    manifest, files = back_up(repository, tree)
    one, two = (str(f.chunks[0]) for f in files if f.path in ("ibdata1", "shop/items.ibd"))
    whole = place.damage.read(chunk_path(one))
    for harm in (place.damage.read(chunk_path(two)), flip_one_bit(whole), whole[:20], whole[:-1], b""):
        place.damage.write(chunk_path(one), harm)
        with pytest.raises(ChunkCorrupt, match=one):
            repository.chunks.read(one, 3 * 2**20)
    assert [bad.ref for bad in verify(repository).bad] == [one]
    again, files = back_up(repository, tree, run="run-2")
    assert f"{one}.1" in next(f for f in files if f.path == "ibdata1").chunks
    path = file_list_path(again.file_list)
    place.damage.write(path, flip_one_bit(place.damage.read(path)))
    with pytest.raises(ManifestCorrupt, match=path):
        repository.load_files(again)


def test_publishing_again_after_a_rotation_is_once(place: Place, tree: Path) -> None:
    repository = place.open(OLD)
    manifest, files = back_up(repository, tree)
    rotated = place.open(NEW, OLD)
    epoch = repository.lease.acquire("run-1", ttl_s=600)
    late = msgspec.structs.replace(manifest, lease_epoch=epoch, backup_id="20260101T000000Z-00000000")
    assert repository.publish(late, files) == rotated.publish(late, files)
    assert place.open(NEW, OLD).catalog().unreadable == {}


def test_s16_rotation_with_all_kinds_of_references(place: Place, tmp_path: Path) -> None:
    """Deltas and unchanged files refer to the base without reading it: not across keys."""
    old = place.open(OLD)
    _, first = back_up(old, make_varied_tree(tmp_path / "tree", large=True))
    second, before = next_backup(old, first, tmp_path / "one", vary, run="run-2")
    assert kinds(before) == {"chunk", "piece", "delta", "zero"}
    # The node is restored under the old key, and copied under the new one.
    data, base = node(old.chunks, before, tmp_path / "two")
    kept = tmp_path / "base.json"
    base.save(kept)
    base = RestoredState.load(kept, tmp_path / "two" / "pages")
    rotated = place.open(NEW, OLD)
    epoch = rotated.lease.acquire("run-3", ttl_s=600)
    files, sizes = copy(rotated.chunks, data, base)
    assert (sizes.skipped_files, sizes.delta_chunks) == (0, 0)
    third = rotated.publish(
        manifest_for(rotated, run="run-3", epoch=epoch, sizes=sizes), files, known_lists=base.lists
    )
    rotated.lease.release("run-3", epoch)
    objects = [{o for f in fs for c in f.chunks if c for o in objects_of(c)} for fs in (before, files)]
    assert objects[0].isdisjoint(objects[1])
    assert verify(place.open(NEW, OLD)).ok
    for manifest, name in ((second, "x"), (third, "y")):
        assert restored(place.open(NEW, OLD, write=False), manifest, tmp_path / name) == tree_bytes(data)
