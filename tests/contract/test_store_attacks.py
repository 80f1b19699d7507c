"""Faults X42 and X43: who can write to the store, and has no key, copies, forges and removes objects."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import (
    KeyMissing,
    KeyRefused,
    RepositoryMismatch,
    StoreFailed,
)
from airflow_restore_replay.core.repository.format.keyring import Key
from airflow_restore_replay.core.repository.format.records import Outcome, utc_now
from airflow_restore_replay.core.repository.format.seals import checksum
from airflow_restore_replay.core.repository.objects.record_store import manifest_path
from airflow_restore_replay.core.repository.verification.verify import verify
from tests.contract.conftest import LocalDamage, Place
from tests.contract.test_old_formats import FIXTURES, KEY
from tests.support.backups import back_up
from tests.support.keys import NEW, OLD, OTHER, key_id


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return at(tmp_path / "repository")


@pytest.fixture
def there(tmp_path: Path) -> Place:
    return at(tmp_path / "another")


def at(root: Path) -> Place:
    return Place(RepositorySpec(url=root.as_uri()), LocalDamage(root))


def copied(source: Place, target: Place) -> None:
    """Copy everything that a repository has and another has not, as who can write to the store."""
    assert isinstance(source.damage, LocalDamage)
    for path in (p for p in source.damage.root.rglob("*") if p.is_file()):
        name = path.relative_to(source.damage.root).as_posix()
        if target.store().size(name) is None:
            target.damage.write(name, path.read_bytes())


def test_x42_a_backup_of_another_repository_is_not_believed(here: Place, there: Place, tree: Path) -> None:
    """Both have the same key and the same cluster name."""
    mine, _ = back_up(here.open(OLD), tree)
    (tree / "ibdata1").write_bytes(b"other data" * 5000)
    other = there.open(OLD)
    foreign, _ = back_up(other, tree)
    verdict = other.new_verdict(Outcome.QUARANTINED, "run", backup_id=mine.backup_id)
    other.record(verdict)
    copied(there, here)
    catalog = here.open(OLD).catalog()
    assert [b.backup_id for b in catalog.healthy()] == [mine.backup_id]
    assert set(catalog.unreadable) == {
        manifest_path(foreign.backup_id),
        f"verdicts/{verdict.verdict_id}.json",
    }
    assert all("forged" in why for why in catalog.unreadable.values())


def test_x42_a_seal_belongs_to_one_name(here: Place, tree: Path) -> None:
    repository = here.open(OLD)
    epoch = repository.lease.acquire("run-1", 600)
    repository.lease.renew("run-1", epoch)
    first, second = (f"leases/{epoch:012d}/renewal-{n:06d}.json" for n in (1, 2))
    here.damage.write(second, here.damage.read(first))
    with pytest.raises(StoreFailed, match="renewal-000002.*forged"):
        repository.lease.check("run-1", epoch)


@pytest.mark.parametrize("sealed", [False, True], ids=["bare", "with-a-checksum"])
def test_x42_a_forged_lease_is_reported_and_not_obeyed(here: Place, sealed: bool) -> None:
    repository = here.open(OLD)
    at = utc_now()
    claim: dict[str, object] = {"format": 2, "cluster": "orders", "epoch": 1, "owner": "me", "ttl_s": 600.0}
    claim |= {"acquired_at": at.isoformat(), "expires_at": (at + timedelta(seconds=600)).isoformat()}
    body = json.dumps(claim).encode()
    seal = b"\n%s\n" % json.dumps({"blake3": checksum(body)}).encode() if sealed else b""
    here.damage.write("leases/000000000001/claim.json", body + seal)
    with pytest.raises(StoreFailed, match="did not have a key") as caught:
        repository.lease.acquire("run", 600)
    assert "Remove the folder leases/000000000001 when no run" in caught.value.hint
    assert not verify(repository).ok


def _format_1(tmp_path: Path) -> Place:
    root = tmp_path / "format-1"
    shutil.copytree(FIXTURES / "format-1-encrypted", root)
    return at(root)


def test_x42_after_the_upgrade_only_what_is_listed_has_a_seal_of_format_1(tmp_path: Path, tree: Path) -> None:
    """A downgrade is no way around: the copied record is from a repository that was never upgraded."""
    place = _format_1(tmp_path)
    (record, *_) = sorted((FIXTURES / "format-1-encrypted" / "manifests").iterdir())
    path = f"manifests/{record.name}"
    place.damage.remove(path)
    old = {m.backup_id for m in place.open(KEY).catalog().manifests}
    new, _ = back_up(place.open(KEY), tree)
    assert {m.backup_id for m in place.open(KEY, write=False).catalog().manifests} == {*old, new.backup_id}
    place.damage.write(path, record.read_bytes())
    for write in (True, False):
        catalog = place.open(KEY, write=write).catalog()
        assert "sealed as in format 1" in catalog.unreadable[path]
    place.damage.remove("upgrade.json")
    with pytest.raises(RepositoryMismatch, match=r"upgrade\.json is missing"):
        place.open(KEY)
    assert "upgrade.json" in verify(place.open(KEY, write=False)).missing


def test_x42_a_format_2_repository_has_no_seals_of_format_1(here: Place, tree: Path) -> None:
    repository = here.open(OLD)
    manifest, _ = back_up(repository, tree)
    path = manifest_path(manifest.backup_id)
    body, line = here.damage.read(path).splitlines()
    from blake3 import blake3

    mac = blake3(body, key=Key.of(OLD).records).hexdigest()
    seal = {"blake3": checksum(body), "mac": mac, "key_id": key_id(OLD)}
    here.damage.write(path, b"%s\n%s\n" % (body, json.dumps(seal).encode()))
    assert "sealed as in format 1" in here.open(OLD).catalog().unreadable[path]
    # Nor does it become one of format 1 by another repository.json.
    marker, _ = here.damage.read("repository.json").splitlines()
    marker = json.dumps(json.loads(marker) | {"format": 1}).encode()
    here.damage.write(
        "repository.json", b"%s\n%s\n" % (marker, json.dumps({"blake3": checksum(marker)}).encode())
    )
    for write in (True, False):
        with pytest.raises(RepositoryMismatch, match="one of them was replaced"):
            here.open(OLD, write=write)


def test_x43_line_ends_cost_no_multiple_of_their_size(here: Place) -> None:
    repository = here.open(OLD)
    here.damage.write("verdicts/20260101T000000Z-00000000.json", b"\n" * 2**22)
    tracemalloc.start()
    try:
        assert len(repository.catalog().unreadable) == 1
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**22
    finally:
        tracemalloc.stop()


NESTED = b"[" * 30_000


@pytest.mark.parametrize(
    "path",
    [
        "leases/000000000001/claim.json",
        "verdicts/20260101T000000Z-00000000.json",
        f"keys/{key_id(OLD)}.json",
        "repository.json",
    ],
)
@pytest.mark.parametrize("nested", [NESTED, b"%s\n%s\n" % (NESTED, NESTED), b'{"owner":%s' % NESTED])
def test_x43_nested_json_is_damage_and_no_bug(here: Place, path: str, nested: bytes) -> None:
    here.open(OLD)
    here.damage.write(path, nested)
    try:
        repository = here.open(OLD)
        if path.startswith("leases/"):
            repository.lease.acquire("run", 600)
        found = path in repository.catalog().unreadable
    except (StoreFailed, RepositoryMismatch, KeyRefused):
        found = True
    assert found


def _claims(**fields: object) -> bytes:
    at = utc_now() - timedelta(days=2)
    claim: dict[str, object] = {"format": 1, "cluster": "orders", "epoch": 5, "owner": "me", "ttl_s": 600.0}
    claim |= {"acquired_at": at.isoformat(), "expires_at": (at + timedelta(seconds=600)).isoformat()}
    return json.dumps(claim | fields).encode()


FAR = utc_now() + timedelta(days=4000)


@pytest.mark.parametrize(
    ("epoch", "claim"),
    [
        pytest.param(999_999_999_999, {"epoch": 999_999_999_999}, id="last-of-twelve-digits"),
        pytest.param(999_999_999, {"epoch": 999_999_999}, id="last-that-is-allowed"),
        pytest.param(5, {"epoch": 6}, id="another-epoch"),
        pytest.param(5, {"ttl_s": 1e300}, id="ttl-for-ever"),
        pytest.param(5, {"ttl_s": -1}, id="ttl-negative"),
        pytest.param(5, {"expires_at": FAR.isoformat()}, id="expires-in-years"),
        pytest.param(
            5, {"acquired_at": FAR.isoformat(), "expires_at": FAR.isoformat()}, id="acquired-in-years"
        ),
    ],
)
def test_x43_an_impossible_lease_is_refused_with_the_way_out(
    here: Place, epoch: int, claim: dict[str, object]
) -> None:
    repository = here.open()
    assert repository.lease.acquire("before", 600) == 1
    repository.lease.release("before", 1)
    folder = f"leases/{epoch:012d}"
    here.damage.write(f"{folder}/claim.json", _claims(**claim))
    with pytest.raises(StoreFailed, match="damaged or forged") as caught:
        repository.lease.acquire("run", 600)
    assert f"Remove the folder {folder} when no run" in caught.value.hint
    here.damage.remove(f"{folder}/claim.json")
    assert repository.lease.acquire("run", 600) == 2


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 30_000])
def test_x43_a_forged_key_check_stops_nobody(here: Place, tree: Path, content: bytes) -> None:
    here.open(OLD)
    here.damage.write(f"keys/{key_id(OTHER)}.json", content)
    manifest, _ = back_up(here.open(OLD), tree)
    assert [m.backup_id for m in here.open(OLD).catalog().manifests] == [manifest.backup_id]
    assert f"keys/{key_id(OTHER)}.json" in verify(here.open(OLD)).unreadable


def test_x43_a_key_that_an_earlier_one_vouches_for_stops_who_has_only_that(here: Place) -> None:
    """The new key was registered, and has no backup yet."""
    here.open(OLD)
    here.open(NEW, OLD)
    with pytest.raises(KeyMissing, match=f"{key_id(NEW)} .* others may be writing with it"):
        here.open(OLD)
    path = f"keys/{key_id(NEW)}.json"
    forged = json.loads(here.damage.read(path)) | {"key_id": key_id(OTHER)}
    here.damage.remove(path)
    here.damage.write(f"keys/{key_id(OTHER)}.json", json.dumps(forged).encode())
    here.open(OLD)


def test_x43_a_deleted_key_check_lets_no_earlier_key_back_in(here: Place, tree: Path) -> None:
    back_up(here.open(OLD), tree)
    new, _ = back_up(here.open(NEW, OLD), tree, run="run-2")
    here.damage.remove(f"keys/{key_id(NEW)}.json")
    with pytest.raises(KeyMissing, match=new.backup_id):
        here.open(OLD)
    here.open(NEW, OLD)
