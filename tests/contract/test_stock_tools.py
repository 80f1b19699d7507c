"""FORMAT.md's recipe rebuilds a backup without any of our code (invariant 10)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from airflow_restore_replay.core.cluster import RepositorySpec
from airflow_restore_replay.core.repository.refs import chunk_path
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.backups import back_up, tree_bytes

FORMAT = Path(__file__).parents[2] / "FORMAT.md"
TOOLS = ("jq", "zstd", "b3sum", "dd")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """:returns: the script that FORMAT.md shows, as it is."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.skip(f"FORMAT.md's recipe is NOT TESTED: {', '.join(missing)} not installed")
    script = re.search(r"```sh\n(#!/bin/sh\n.*?)```", FORMAT.read_text(encoding="utf-8"), re.DOTALL)
    assert script, "FORMAT.md has a recipe"
    path = tmp_path / "restore.sh"
    path.write_text(script[1])
    return path


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
