"""Faults S1–S17 through whole cycles: what the store lost or changed is found, blamed right, and replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import blake3
import msgspec
import pytest
import zstandard

from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.repository.format.records import FORMAT_VERSION, BackupState, Outcome
from airflow_restore_replay.core.repository.objects.record_store import write_record
from tests.support.disks import small_disk
from tests.support.mariadb import MariaDbPrimary
from tests.support.rig import Once, Rig

ORDERS = "shop/orders.ibd"


def assert_quarantined(rig: Rig, backup_id: str, code: str, *, names: str = "") -> str:
    """Run a cycle over a damaged base.

    :returns: the fallback's backup id, after a real restore of it.
    """
    report = rig.cycle()
    new_id = rig.published(report)
    assert backup_id in report.quarantined
    catalog = rig.catalog()
    verdict = catalog.backup(backup_id).against[0]
    assert verdict.outcome is Outcome.QUARANTINED
    assert verdict.failure is not None
    assert verdict.failure.code == code
    assert verdict.failure.blame is Blame.BACKUP
    assert names in verdict.failure.message
    assert catalog.backup(new_id).manifest.base.kind == "seed"
    assert catalog.backup(new_id).state is BackupState.HEALTHY
    rig.restores(new_id)
    return new_id


def test_s1_bit_flip(rig: Rig, backup_id: str) -> None:
    chunk = rig.chunk_of(backup_id, ORDERS)
    rig.flip_byte(chunk)
    assert_quarantined(rig, backup_id, "ChunkCorrupt", names=ORDERS)
    assert chunk.name.removesuffix(".0") in rig.against(backup_id)[0].failure.message  # type: ignore[union-attr]


def test_s1_every_backup_that_shares_the_chunk_is_quarantined(rig: Rig, backup_id: str) -> None:
    second = rig.published(rig.cycle())
    shared = rig.chunk_of(backup_id, "shop/notes.ibd")
    assert shared == rig.chunk_of(second, "shop/notes.ibd")
    rig.flip_byte(shared)
    report = rig.cycle()
    rig.published(report)
    assert set(report.quarantined) == {backup_id, second}
    assert rig.catalog().backup(backup_id).state is BackupState.QUARANTINED


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_s2_chunk_short_or_gone(rig: Rig, backup_id: str, damage: str) -> None:
    chunk = rig.chunk_of(backup_id, ORDERS)
    if damage == "missing":
        chunk.unlink()
    else:
        chunk.write_bytes(b"" if damage == "empty" else chunk.read_bytes()[:-100])
    code = "ChunkMissing" if damage == "missing" else "ChunkCorrupt"
    # A bundle that is gone is named with the first file that needs it.
    assert_quarantined(rig, backup_id, code, names="" if damage == "missing" else ORDERS)


def test_s3_two_chunks_swapped(rig: Rig, backup_id: str) -> None:
    one, two = rig.chunk_of(backup_id, ORDERS, 0), rig.chunk_of(backup_id, "ibdata1", 0)
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    assert_quarantined(rig, backup_id, "ChunkCorrupt")


@pytest.mark.parametrize("damage", ["truncated", "not json", "newer format", "changed"])
def test_s4_damaged_manifest_is_reported_and_an_older_base_serves(
    rig: Rig, backup_id: str, damage: str
) -> None:
    second = rig.published(rig.cycle())
    path = rig.repository_dir / "manifests" / f"{second}.json"
    text = path.read_text()
    changed = {
        "truncated": text[: len(text) // 2],
        "not json": "<html>busy</html>\n" + text.splitlines()[1],
        "newer format": text.replace(f'"format":{FORMAT_VERSION},', f'"format":{FORMAT_VERSION + 1},'),
        "changed": text.replace('"lineage_depth":1', '"lineage_depth":2'),
    }
    assert changed[damage] != text
    path.write_text(changed[damage])
    report = rig.cycle()
    rig.published(report)
    assert report.base_id == backup_id
    assert [p for p in report.skipped if second in p]
    assert list(rig.catalog().unreadable) == [f"manifests/{second}.json"]
    assert rig.verdicts_against() == []


@pytest.mark.parametrize("path", ["../escaped", "/tmp/rr-escaped", "shop/../../escaped"])
def test_s5_paths_outside_the_data_directory(rig: Rig, backup_id: str, path: str) -> None:
    repository = rig.repository()
    manifest = repository.load_manifest(backup_id)
    files = repository.load_files(manifest)
    stained = [msgspec.structs.replace(f, path=path) if f.path == ORDERS else f for f in files]
    epoch = repository.lease.acquire("forger", 60)
    forged = msgspec.structs.replace(
        manifest,
        backup_id=f"{manifest.backup_id[:-8]}ffffffff",
        run="forger",
        lease_epoch=epoch,
        file_list="",
    )
    forged = msgspec.structs.replace(forged, file_list=_write_list(rig, stained))
    write_record(repository.store, forged)
    repository.lease.release("forger", epoch)
    report = rig.cycle()
    rig.published(report)
    assert rig.against(forged.backup_id)[0].failure.code in ("PathEscapes", "ManifestCorrupt")  # type: ignore[union-attr]
    assert not (rig.root / "escaped").exists()
    assert not Path("/tmp/rr-escaped").exists()


def _write_list(rig: Rig, files: Sequence[object]) -> str:
    """Store a file list as an attacker would: without our checks."""
    lines = b"".join(msgspec.json.encode(f) + b"\n" for f in files)
    name: str = blake3.blake3(lines).hexdigest()
    existing = next((rig.repository_dir / "files").iterdir())
    suffix = existing.name[64:]
    (existing.parent / f"{name}{suffix}").write_bytes(zstandard.compress(lines))
    return name


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", mebibytes=24) as mount:
        yield mount


def test_s12_full_repository_disk(rig: Rig, backup_id: str, disk: Path) -> None:
    source = rig.repository_dir
    used = sum(p.stat().st_size for p in source.rglob("*") if p.is_file())
    shutil.copytree(source, disk / "repository")
    filler = disk / "filler"
    filler.write_bytes(b"x" * max(0, 23 * 2**20 - used - 300_000))
    rig.primary.execute("UPDATE shop.orders SET note = REPEAT(SHA2(RAND(), 512), 8)")
    report = rig.cycle(repository={"url": f"file://{disk}/repository"}, retries=0)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("StoreFull", Blame.ENVIRONMENT)
    filler.unlink()
    small = Rig(rig.primary, disk)
    assert [b.backup_id for b in small.catalog().backups] == [backup_id]
    assert small.verdicts_against() == []
    assert [p for p in disk.rglob("*") if ".tmp" in p.name] == []


def test_s11_full_disk_on_the_node(rig: Rig, backup_id: str, disk: Path) -> None:
    report = rig.cycle(node={"workdir": str(disk / "nodes")}, retries=0)
    assert report.failure is not None
    assert report.failure.blame is Blame.ENVIRONMENT
    assert rig.verdicts_against() == []
    assert not (disk / "nodes").exists()


def test_s13_upload_fails_after_all_others_began(rig: Rig, backup_id: str) -> None:
    """The store turns read-only while the node is copied: no manifest."""
    manifests = rig.repository_dir / "manifests"
    hidden = rig.root / "hidden"
    folders = [p for p in rig.repository_dir.iterdir() if p.name in ("chunks", "bundles")]

    def lose_the_disk() -> None:
        hidden.mkdir()
        for folder in folders:
            folder.rename(hidden / folder.name)
            folder.write_text("a file where a directory belongs")

    rig.primary.execute("UPDATE shop.orders SET note = REPEAT(SHA2(RAND(), 512), 8)")
    report = rig.cycle(watch=Once("replay.snapshot", "", lose_the_disk), retries=0)
    assert report.failure is not None
    assert report.failure.blame is Blame.ENVIRONMENT
    assert [p.stem for p in manifests.iterdir()] == [backup_id]
    for folder in folders:
        folder.unlink()
        (hidden / folder.name).rename(folder)
    assert rig.verdicts_against() == []
    rig.published(rig.cycle())


def test_s17_physical_full_produces_the_corrupt_chunk(
    new_primary: Callable[..., MariaDbPrimary], tmp_path: Path
) -> None:
    """A cold .ibd is byte-identical on primary and backup, so the fallback makes the very chunk that is corrupt."""
    rig = Rig(new_primary(), tmp_path, overrides={"seed": {"method": "physical"}})
    first = rig.full()
    # What the first server start rewrites is over: from here on the table's file stays as it is.
    second = rig.published(rig.cycle())
    chunk = rig.chunk_of(first, ORDERS)
    rig.flip_byte(chunk)
    damaged = chunk.read_bytes()
    report = rig.cycle()
    third = rig.published(report)
    assert second in report.quarantined
    assert chunk.read_bytes() == damaged, "a corrupt chunk is never overwritten"
    assert rig.catalog().backup(third).manifest.base.method == "physical"
    again = rig.chunk_of(third, ORDERS)
    assert again.path != chunk.path, "the same content, stored beside it"
    assert again.name in (chunk.name, f"{chunk.name.removesuffix('.0')}.1")
    rig.restores(third)
    fourth = rig.cycle()
    assert fourth.base_id == third
    rig.published(fourth)
