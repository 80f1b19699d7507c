"""The cycle itself, when nothing is wrong; on a disk, and with jobs and nodes made as in production."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_restore_replay.core.repository.format.records import BackupState, Proof
from airflow_restore_replay.core.system.filesystem import known_file_system
from tests.support import places
from tests.support.flavors import Kit, on_both, on_every
from tests.support.primary import WriteLoad
from tests.support.rig import Rig

pytestmark = pytest.mark.usefixtures("as_in_production")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    path = places.on_disk()
    assert known_file_system(path) != "tmpfs"
    yield path
    shutil.rmtree(path)


@on_every
def test_replayed_backup_is_published_and_proves_its_base(rig: Rig, backup_id: str, kit: Kit) -> None:
    rig.primary.execute("INSERT INTO shop.orders (customer, total) VALUES ('replayed', 1)")
    with WriteLoad(rig.primary):
        report = rig.cycle()
    new_id = rig.published(report)
    assert report.base_id == backup_id
    assert report.quarantined == []
    catalog = rig.catalog()
    assert catalog.backup(backup_id).proof is Proof.RESTORED
    new = catalog.backup(new_id)
    assert new.state is BackupState.HEALTHY
    assert new.proof is Proof.READ_BACK
    assert new.manifest.base.backup_id == backup_id
    assert new.manifest.lineage_depth == 1
    assert rig.primary.execute("SELECT VERSION()")[0][0].startswith(new.manifest.server_release)
    assert new.manifest.server_release.startswith(kit.series)
    assert report.steps["replay.catch_up"]["transactions"] > 0
    assert new.manifest.compared["tables"] >= 3
    # Differential: a file that replay did not touch is not stored again.
    sizes = new.manifest.sizes
    assert sizes.reused_bytes > 0
    assert sizes.skipped_files > 0, "replay touched few tables"
    assert sizes.read_bytes + sizes.skipped_bytes == sizes.total_bytes
    assert rig.chunk_of(new_id, kit.archive, 0) == rig.chunk_of(backup_id, kit.archive, 0)
    rig.restores(new_id)


@on_both
def test_logical_seed_makes_a_backup_without_base_that_replays(rig: Rig, backup_id: str, kit: Kit) -> None:
    seed_and_replay(rig, kit.seeds[0])


@on_every
def test_seed_of_the_flavors_own_makes_one_too(rig: Rig, backup_id: str, kit: Kit) -> None:
    seed_and_replay(rig, kit.seeds[1])


def seed_and_replay(rig: Rig, method: str) -> None:
    new_id = rig.full(seed={"method": method})
    manifest = rig.catalog().backup(new_id).manifest
    assert manifest.base.kind == "seed"
    assert manifest.base.method == method
    assert manifest.lineage_depth == 0
    report = rig.cycle()
    assert rig.catalog().backup(rig.published(report)).manifest.base.backup_id == new_id
    assert rig.verdicts_against() == []


def test_tables_that_swap_their_files_are_read_again(rig: Rig, backup_id: str) -> None:
    """RENAME TABLE leaves size and mtime alone; the next cycle restores, and compares with the primary."""
    for name, word in (("a", "one"), ("b", "two")):
        rig.primary.execute(f"CREATE TABLE shop.{name} (id INT PRIMARY KEY, body CHAR(3))")
        rig.primary.execute(f"INSERT INTO shop.{name} SELECT seq, '{word}' FROM shop.seq_1_to_1000")
    before = rig.published(rig.cycle())
    rig.primary.execute("RENAME TABLE shop.a TO shop.c, shop.b TO shop.a, shop.c TO shop.b")
    after = rig.published(rig.cycle())
    assert rig.catalog().backup(after).manifest.base.backup_id == before
    assert rig.chunk_of(after, "shop/a.ibd", 0) != rig.chunk_of(before, "shop/a.ibd", 0)
    report = rig.cycle(transfer={"paranoid": True})
    assert (report.base_id, report.quarantined) == (after, [])
    last = rig.catalog().backup(rig.published(report)).manifest
    assert last.sizes.skipped_files == 0
    # Holes are not read, and hold zeros.
    assert last.sizes.read_bytes + last.sizes.skipped_bytes == last.sizes.total_bytes
    assert last.sizes.skipped_bytes <= last.sizes.zero_bytes
