"""FORMAT.md's second recipe rebuilds an archived binary log without any of our code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.repository.format.records import LogPiece
from airflow_restore_replay.core.repository.objects.record_store import record_path
from tests.contract.archive.conftest import Shelf
from tests.contract.archive.test_pieces import merge, the_log
from tests.contract.conftest import LocalDamage, Place
from tests.contract.test_stock_tools import ROOT, TOOLS
from tests.support.archives import STREAM, Archivist
from tests.support.keys import NEW, OLD

SCRIPT = ROOT / "tests" / "e2e" / "rebuild_log_with_stock_tools.sh"


def rebuild(root: Path, number: int, target: Path, *keys: Path) -> subprocess.CompletedProcess[str]:
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        pytest.skip(f"FORMAT.md's recipe is NOT TESTED: {', '.join(missing)} not installed")
    argv = ["sh", str(SCRIPT), str(root), STREAM, str(number), str(target), *map(str, keys)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def here(root: Path) -> Place:
    return Place(RepositorySpec(url=root.as_uri()), LocalDamage(root))


def test_the_script_is_the_one_that_the_format_shows() -> None:
    shown = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", (ROOT / "FORMAT.md").read_text("utf-8"), re.DOTALL)
    assert SCRIPT.read_text(encoding="utf-8") in shown


def test_stock_tools_rebuild_a_log_loose_and_merged(tmp_path: Path, shelf: Shelf) -> None:
    root, out = tmp_path / "repository", tmp_path / "binlog"
    archivist = Archivist(here(root).open(), shelf.flavor)
    for log in shelf.logs:
        archivist.add(log, range(len(log.groups)), closed=log is not shelf.logs[-1])
    merge(archivist, the_log(Archive.read(archivist.repository), 2))
    for number, log in enumerate(shelf.logs, 1):
        done = rebuild(root, number, out)
        assert (done.returncode, done.stderr) == (0, "")
        assert out.read_bytes() == log.data
    assert rebuild(root, 4, out).returncode != 0


def test_stock_tools_decrypt_pieces_of_two_keys(tmp_path: Path, shelf: Shelf) -> None:
    root, out, made = tmp_path / "repository", tmp_path / "binlog", shelf.logs[0]
    end = made.groups[1].end
    Archivist(here(root).open(OLD), shelf.flavor).add(made, [0], closed=False, end=end)
    later = Archivist(here(root).open(NEW, OLD), shelf.flavor, number=1)
    later.store.write(later.piece(made, end, len(made.data), closed=True))
    keys = [tmp_path / "new", tmp_path / "old"]
    for path, key in zip(keys, (NEW, OLD), strict=True):
        path.write_text(f"{key}\n")
    done = rebuild(root, 1, out, *keys)
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_bytes() == made.data
    assert rebuild(root, 1, out, keys[0]).returncode != 0


def test_stock_tools_notice_what_is_missing_swapped_or_forged(tmp_path: Path, shelf: Shelf) -> None:
    root, out, made = tmp_path / "repository", tmp_path / "binlog", shelf.logs[0]
    archivist = Archivist(here(root).open(), shelf.flavor)
    pieces = archivist.add(made, range(len(made.groups)))
    records = [root / record_path(LogPiece, piece.piece_id) for piece in pieces]
    parts = [root / f"logdata/{piece.parts[0].object}.zst" for piece in pieces]
    saved = {path: path.read_bytes() for path in (*records, *parts)}

    parts[0].write_bytes(saved[parts[1]])
    assert rebuild(root, 1, out).returncode != 0
    parts[0].write_bytes(saved[parts[0]])
    records[1].unlink()
    assert f"Bytes from {pieces[1].begin} on are missing" in rebuild(root, 1, out).stderr
    records[1].write_bytes(saved[records[1]].replace(b'"log":"', b'"log":"x'))
    assert rebuild(root, 1, out).returncode != 0
    records[1].write_bytes(saved[records[1]])
    assert rebuild(root, 1, out).returncode == 0
