"""The tester is tested: all injected damage is found, the control is clean, the repository is only read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from airflow_restore_replay.core.archive.pieces import PieceStore
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.recovery.selftest import INJECTIONS, NOT_HERE, SelftestReport, selftest
from airflow_restore_replay.core.recovery.selftest.data_faults import DATA
from airflow_restore_replay.core.repository.format.codec import Codec
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.support.archives import piece_of
from tests.support.backups import MIB, back_up, make_tree, manifest_for, tree_bytes

KEY = "5e" * 32


def replayed(root: Path, keys: tuple[str, ...]) -> tuple[Repository, Manifest]:
    """Return a repository, and a backup with chunks, pieces and a delta."""
    tree = make_tree(root / "data")
    (tree / "shop" / "notes.ibd").write_bytes(random.Random(9).randbytes(3 * MIB))
    spec = RepositorySpec(url=(root / "repository").as_uri())
    repository = Repository.open(spec, cluster="orders", keys=keys, write=True)
    first, files = back_up(repository, tree)
    restored = root / "node"
    base = restore_tree(
        repository.chunks,
        files,
        restored,
        chunk_size_bytes=first.chunk_size_bytes,
        pages=root / "pages",
        label=first.backup_id,
    ).base
    with (restored / "shop" / "orders.ibd").open("r+b") as file:
        file.seek(MIB)
        file.write(b"changed")
    epoch = repository.lease.acquire("run-2", ttl_s=600)
    files, sizes = snapshot_tree(repository.chunks, restored, base=base, threads=1)
    manifest = repository.publish(manifest_for(repository, run="run-2", epoch=epoch, sizes=sizes), files)
    repository.lease.release("run-2", epoch)
    assert sizes.delta_chunks == 1
    archive_pieces(repository)
    return repository, manifest


def archive_pieces(repository: Repository) -> None:
    """Archive three pieces, of two files."""
    store = PieceStore(repository)
    for number, begin, end in ((1, 0, 500), (1, 500, 900), (2, 0, 700)):
        store.write(
            piece_of(
                "orders",
                "mariadb",
                begin,
                end,
                number=number,
                log=f"binlog.{number:06}",
                parts=[store.put(random.Random(begin).randbytes(end - begin))],
                key_id=store.key_id,
                before=f"0-1-{number}{begin}",
                after=f"0-1-{number}{end}" if (number, end) != (1, 900) else "0-1-20",
                closed=(number, end) == (1, 900),
            )
        )


def run(root: Path, *keys: str) -> SelftestReport:
    repository, manifest = replayed(root, keys)
    before = tree_bytes(root / "repository")
    reading = Repository.open(
        RepositorySpec(url=(root / "repository").as_uri()), cluster="orders", keys=keys, write=False
    )
    report = selftest(reading, manifest, keys, cluster=None)
    assert tree_bytes(root / "repository") == before
    assert report.backup_id == manifest.backup_id
    assert repository.cluster == report.cluster
    return report


def test_all_that_is_injected_is_found_and_the_control_is_clean(tmp_path: Path) -> None:
    report = run(tmp_path)
    assert report.control == {}
    assert [t for t in report.tried if not t.found_by and not t.left_out] == []
    assert report.ok
    left_out = {t.row: t.left_out for t in report.tried if t.left_out and t.row[0] != "D"}
    encrypted = dict.fromkeys(("S16", "X4"), "the repository is not encrypted")
    assert left_out == encrypted | {row: why for row, _, why in NOT_HERE if row[0] == "S"}
    found = {(t.row, t.fault): t.found_by for t in report.tried}
    assert found[("S1", "one bit flipped in a delta")] == {
        "restore": "ChunkCorrupt",
        "verify": "ChunkCorrupt",
    }
    assert found[("S5", "file path leaves the data directory")]["restore"] == "PathEscapes"
    assert found[("S10", "store replaces objects")] == {"start-up": "StoreUnsafe"}
    by_row = {t.row: t.found_by for t in report.tried}
    assert found[("A20", "one bit flipped in a piece of the archive")] == {
        "replay": "LogCorrupt",
        "verify": "LogCorrupt",
    }
    assert found[("A20", "a gap in the archive that no record notes")]["verify"] == "LogMissing"
    assert by_row["S7"] == {"restore": "StoreFailed", "verify": "StoreFailed"}
    assert by_row["S9"] == {"snapshot": "StoreDenied"}
    assert by_row["S11"] == {"restore": "NodeFull"}
    assert by_row["S12"] == {"snapshot": "StoreFull"}
    assert by_row["S13"] == {"snapshot": "StoreFailed"}
    assert by_row["S15"] == {"prune": "PruneUnsafe"}
    assert by_row["S17"] == {"read-back": "stored again"}


def test_in_an_encrypted_repository_also_keys_and_forgery(tmp_path: Path) -> None:
    report = run(tmp_path, KEY)
    assert report.ok
    assert len([t for t in report.tried if not t.left_out]) == len(INJECTIONS)
    found = {t.row: t.found_by for t in report.tried}
    assert found["S16"] == {"key check": "KeyRefused"}
    assert "catalog" in found["X4"]


def test_every_row_about_storage_and_data_is_tried_or_says_where_it_is() -> None:
    tried = {f.row for f in INJECTIONS} | {f.row for f in DATA}
    elsewhere = {row: why for row, _, why in NOT_HERE}
    assert tried | elsewhere.keys() >= {f"S{n}" for n in range(1, 18)} | {f"D{n}" for n in range(1, 9)}
    assert not tried & elsewhere.keys()
    for row, why in elsewhere.items():
        text = (Path(__file__).parents[2] / why.rpartition(" ")[2]).read_text()
        assert f"def test_{row.lower()}_" in text


def test_a_tester_that_has_gone_blind_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Codec, "_check", lambda self, data, name: None)
    report = run(tmp_path)
    assert not report.ok
    assert "two chunks swapped" in {t.fault for t in report.tried if not t.found_by}
