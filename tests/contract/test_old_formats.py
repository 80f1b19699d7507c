"""What releases wrote must restore for ever; what a newer one wrote is refused by its number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from blake3 import blake3

from airflow_restore_replay.core.config.sections import RepositorySpec, Transfer
from airflow_restore_replay.core.errors import RepositoryMismatch
from airflow_restore_replay.core.recovery.restore import restore_backup
from airflow_restore_replay.core.repository.format.records import Proof
from airflow_restore_replay.core.repository.objects.record_store import sealed
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.verification.verify import verify
from tests.support.generations import kinds

FIXTURES = Path(__file__).parents[1] / "fixtures"
#: of format-1-encrypted
KEY = "0f1e2d3c4b5a6978" * 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a copy: a verification leaves records."""
    shutil.copytree(FIXTURES / "format-1", tmp_path / "repository")
    return tmp_path / "repository"


def _open(root: Path, *keys: str, write: bool = False) -> Repository:
    return Repository.open(RepositorySpec(url=root.as_uri()), cluster="orders", keys=keys, write=write)


@pytest.mark.parametrize(("fixture", "keys"), [("format-1", ()), ("format-1-encrypted", (KEY,))])
def test_format_1_restores_byte_for_byte(tmp_path: Path, fixture: str, keys: tuple[str, ...]) -> None:
    root = tmp_path / "repository"
    shutil.copytree(FIXTURES / fixture, root)
    expected = json.loads((root / "expected.json").read_text())
    repository = _open(root, *keys)
    catalog = repository.catalog()
    assert [b.backup_id for b in catalog.backups] == sorted(expected)
    assert catalog.backups[0].proof is Proof.RESTORED
    found: set[str] = set()
    for backup in catalog.backups:
        found |= kinds(repository.load_files(backup.manifest))
        found |= {"list" for e in repository.load_entries(backup.manifest) if e.list}
        target = tmp_path / backup.backup_id
        restore_backup(repository, backup.manifest, target, transfer=Transfer())
        assert {
            p.relative_to(target).as_posix(): [
                p.stat().st_mode & 0o777,
                None if p.is_dir() else blake3(p.read_bytes()).hexdigest(),
            ]
            for p in target.rglob("*")
        } == expected[backup.backup_id]
    assert found == {"chunk", "piece", "delta", "zero", "list"}
    assert verify(_open(root, *keys, write=True)).ok


def test_a_newer_repository_is_refused_by_its_number(root: Path) -> None:
    marker = json.loads((root / "repository.json").read_text().splitlines()[0])
    (root / "repository.json").write_bytes(sealed(json.dumps(marker | {"format": 7}).encode()))
    with pytest.raises(RepositoryMismatch, match="has format 7, not 1"):
        _open(root)


def test_a_newer_backup_is_listed_as_unreadable_by_its_number(root: Path) -> None:
    path = sorted((root / "manifests").iterdir())[1]
    manifest = json.loads(path.read_text().splitlines()[0])
    path.write_bytes(sealed(json.dumps(manifest | {"format": 7}).encode()))
    catalog = _open(root).catalog()
    assert len(catalog.backups) == 1
    assert "unknown format 7" in catalog.unreadable[f"manifests/{path.name}"]
