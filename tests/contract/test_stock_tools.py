"""FORMAT.md's recipe rebuilds a backup without any of our code (invariant 10)."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.repository.format.records import FileEntry
from airflow_restore_replay.core.repository.format.refs import chunk_path
from airflow_restore_replay.core.repository.format.seals import checksum
from airflow_restore_replay.core.repository.objects.record_store import manifest_path
from airflow_restore_replay.core.repository.repository import Repository
from tests.contract.test_old_formats import FIXTURES
from tests.contract.test_old_formats import KEY as FORMAT_1_KEY
from tests.support.backups import back_up, flip_one_bit, manifest_for, tree_bytes
from tests.support.generations import kinds, make_varied_tree, next_backup, vary
from tests.support.keys import NEW, OLD

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "e2e" / "restore_with_stock_tools.sh"
TOOLS = ("jq", "zstd", "b3sum", "dd", "openssl", "basenc")


@pytest.fixture
def recipe() -> Path:
    """Return the script that FORMAT.md shows."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"FORMAT.md's recipe is NOT TESTED: {', '.join(missing)} not installed")
    return SCRIPT


def test_the_script_is_the_one_that_the_format_shows() -> None:
    shown = re.search(
        r"```sh\n(#!/bin/sh\n.*?)```", (ROOT / "FORMAT.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert shown, "FORMAT.md has a recipe"
    assert SCRIPT.read_text(encoding="utf-8") == shown[1]


def _run(recipe: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", str(recipe), *argv], capture_output=True, text=True, check=False)


def test_stock_tools_rebuild_the_same_files_modes_and_generations(
    recipe: Path, tree: Path, tmp_path: Path
) -> None:
    root = tmp_path / "repository"
    repository = Repository.open(RepositorySpec(url=root.as_uri()), cluster="orders", write=True)
    _, files = back_up(repository, tree)
    ref = next(f for f in files if f.path == "ibdata1").chunks[0]
    (root / chunk_path(str(ref))).write_bytes(b"damaged, so that the next backup needs a second generation")
    (tree / "ibdata1").chmod(0o600)
    manifest, files = back_up(repository, tree, run="run-2")
    assert f"{ref}.1" in next(f for f in files if f.path == "ibdata1").chunks

    done = _run(recipe, str(root), manifest.backup_id, str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (0, "")
    assert tree_bytes(tmp_path / "out") == tree_bytes(tree)
    modes = {p.relative_to(tree): p.stat().st_mode for p in tree.rglob("*")}
    assert {p.relative_to(tmp_path / "out"): p.stat().st_mode for p in (tmp_path / "out").rglob("*")} == modes


def test_stock_tools_notice_a_swapped_chunk(recipe: Path, tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    repository = Repository.open(RepositorySpec(url=root.as_uri()), cluster="orders", write=True)
    manifest, files = back_up(repository, tree)
    one, two = (root / chunk_path(str(f.chunks[0])) for f in files if f.path in ("ibdata1", "shop/items.ibd"))
    one.write_bytes(two.read_bytes())
    assert _run(recipe, str(root), manifest.backup_id, str(tmp_path / "out")).returncode != 0


@pytest.mark.parametrize(
    "notation",
    [
        pytest.param(str, id="hex"),
        pytest.param(lambda key: base64.b64encode(bytes.fromhex(key)).decode(), id="base64"),
        pytest.param(lambda key: base64.urlsafe_b64encode(bytes.fromhex(key)).decode(), id="base64url"),
    ],
)
def test_stock_tools_decrypt_with_the_key_and_nothing_else(
    recipe: Path, tree: Path, tmp_path: Path, notation: Callable[[str], str]
) -> None:
    root = tmp_path / "repository"
    spec = RepositorySpec(url=root.as_uri())
    old, _ = back_up(Repository.open(spec, cluster="orders", keys=[OLD], write=True), tree)
    rotated = Repository.open(spec, cluster="orders", keys=[NEW, OLD], write=True)
    new, files = back_up(rotated, tree, run="run-2")
    for name, key in (("old", OLD), ("new", NEW)):
        (tmp_path / name).write_text(f"{notation(key)}\n")
    for manifest, name in ((old, "old"), (new, "new")):
        done = _run(
            recipe, str(root), manifest.backup_id, str(tmp_path / f"out-{name}"), str(tmp_path / name)
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert tree_bytes(tmp_path / f"out-{name}") == tree_bytes(tree)
    for key_file in ([], [str(tmp_path / "old")]):
        out = tmp_path / f"wrong{len(key_file)}"
        assert _run(recipe, str(root), new.backup_id, str(out), *key_file).returncode != 0
        assert not out.exists()

    one, two = (root / chunk_path(str(f.chunks[0])) for f in files if f.path in ("ibdata1", "shop/items.ibd"))
    one.write_bytes(two.read_bytes())
    again = _run(recipe, str(root), new.backup_id, str(tmp_path / "swapped"), str(tmp_path / "new"))
    assert again.returncode != 0


@pytest.mark.parametrize(("fixture", "key"), [("format-1", ""), ("format-1-encrypted", FORMAT_1_KEY)])
def test_stock_tools_rebuild_format_1(recipe: Path, tmp_path: Path, fixture: str, key: str) -> None:
    root = FIXTURES / fixture
    (tmp_path / "key").write_text(key)
    for backup_id, files in json.loads((root / "expected.json").read_text()).items():
        out = tmp_path / backup_id
        done = _run(recipe, str(root), backup_id, str(out), *([str(tmp_path / "key")] if key else []))
        assert (done.returncode, done.stderr) == (0, "")
        assert {
            path.relative_to(out).as_posix(): [
                path.stat().st_mode & 0o777,
                None if path.is_dir() else checksum(path.read_bytes()),
            ]
            for path in out.rglob("*")
        } == files


def test_stock_tools_notice_a_forged_manifest(recipe: Path, tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    repository = Repository.open(RepositorySpec(url=root.as_uri()), cluster="orders", keys=[OLD], write=True)
    manifest, _ = back_up(repository, tree)
    path = root / manifest_path(manifest.backup_id)
    body, seal = path.read_bytes().splitlines()
    body = body.replace(b"0-1-100", b"0-1-999")
    forged = json.loads(seal) | {"blake3": checksum(body)}
    path.write_bytes(b"%s\n%s\n" % (body, json.dumps(forged).encode()))
    (tmp_path / "key").write_text(OLD)
    done = _run(recipe, str(root), manifest.backup_id, str(tmp_path / "out"), str(tmp_path / "key"))
    assert done.returncode != 0
    assert not (tmp_path / "out").exists()


def test_stock_tools_rebuild_bundles_deltas_and_lists(recipe: Path, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    repository = Repository.open(RepositorySpec(url=root.as_uri()), cluster="orders", write=True)
    first, files = back_up(repository, make_varied_tree(tmp_path / "one", large=True))
    second, files = next_backup(repository, files, tmp_path / "two", vary, run="run-2")
    third, files = next_backup(
        repository, files, tmp_path / "three", lambda data: vary(data, seed=6), run="run-3"
    )
    assert kinds(files) == {"chunk", "piece", "delta", "zero"}
    assert [entry.path for entry in repository.load_entries(third) if entry.list] == ["shop/large.ibd"]
    for manifest, data in ((first, tmp_path / "one"), (second, None), (third, tmp_path / "three" / "data")):
        out = tmp_path / manifest.backup_id
        done = _run(recipe, str(root), manifest.backup_id, str(out))
        assert (done.returncode, done.stderr) == (0, "")
        if data:
            assert subprocess.run(["diff", "-r", str(out), str(data)], check=False).returncode == 0


def test_stock_tools_rebuild_all_kinds_under_a_key(recipe: Path, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    (tmp_path / "key").write_text(OLD)
    repository = Repository.open(RepositorySpec(url=root.as_uri()), cluster="orders", keys=[OLD], write=True)
    _, files = back_up(repository, make_varied_tree(tmp_path / "one", large=True))
    second, files = next_backup(repository, files, tmp_path / "two", vary, run="run-2")
    assert kinds(files) == {"chunk", "piece", "delta", "zero"}
    out = tmp_path / "out"
    done = _run(recipe, str(root), second.backup_id, str(out), str(tmp_path / "key"))
    assert (done.returncode, done.stderr) == (0, "")
    same = subprocess.run(["diff", "-r", str(out), str(tmp_path / "two" / "data")], check=False)
    assert same.returncode == 0


@pytest.mark.parametrize(
    "path",
    [
        "../../escaped",
        "/escaped",
        "a/../../../escaped",
        "..",
        "a//escaped",
        "a/./escaped",
        "",
        "a\n../../escaped",
    ],
)
@pytest.mark.parametrize("directory", [False, True])
def test_x44_stock_tools_write_nothing_outside(
    recipe: Path, tree: Path, tmp_path: Path, path: str, directory: bool
) -> None:
    root = tmp_path / "repository"
    repository = Repository.open(RepositorySpec(url=root.as_uri()), cluster="orders", write=True)
    _, files = back_up(repository, tree)
    evil = FileEntry(path=path, directory=directory)
    epoch = repository.lease.acquire("evil", 600)
    sizes = repository.catalog().manifests[0].sizes
    manifest = repository.publish(
        manifest_for(repository, run="evil", epoch=epoch, sizes=sizes), [*files, evil]
    )
    before = {p for p in tmp_path.rglob("*") if root not in p.parents}
    done = _run(recipe, str(root), manifest.backup_id, str(tmp_path / "x" / "y" / "out"))
    assert done.returncode != 0
    assert "leaves the target" in done.stderr
    assert {p for p in tmp_path.rglob("*") if root not in p.parents} == before
    assert not Path("/escaped").exists()


@pytest.mark.parametrize("folder", ["chunks", "bundles", "lists", "files", "manifests"])
def test_stock_tools_notice_a_flipped_bit(recipe: Path, tmp_path: Path, folder: str) -> None:
    root = tmp_path / "repository"
    repository = Repository.open(RepositorySpec(url=root.as_uri()), cluster="orders", write=True)
    _, files = back_up(repository, make_varied_tree(tmp_path / "one", large=True))
    second, _ = next_backup(repository, files, tmp_path / "two", vary, run="run-2")
    for path in (p for p in (root / folder).rglob("*") if p.is_file()):
        sound = path.read_bytes()
        path.write_bytes(flip_one_bit(sound))
    assert _run(recipe, str(root), second.backup_id, str(tmp_path / "out")).returncode != 0
