"""``restore --in-place``: only what differs is fetched, and the old state stays until the new one is whole."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.config.sections import Transfer
from airflow_restore_replay.core.recovery import in_place
from airflow_restore_replay.core.system.files import allocated_bytes
from tests.support.killing import moments, restore_killed_at
from tests.unit.cli.conftest import Shop
from tests.unit.cli.test_restore import same_tree


def broken(shop: Shop, target: Path) -> Path:
    """Return a data directory in which a file is damaged, one missing, one too long, one too many, and one right."""
    shop.publish()
    shutil.copytree(shop.source, target)
    target.chmod(0o700)
    with (target / "db" / "t.ibd").open("r+b") as file:
        file.seek(5_000_000)
        file.write(b"damage")
    (target / "ibdata1").unlink()
    (target / "db" / "stranger.ibd").write_bytes(b"old")
    (target / "db" / "v.ibd").write_bytes((shop.source / "db" / "v.ibd").read_bytes() + b"tail")
    return target


@pytest.fixture(autouse=True)
def _more_files(shop: Shop) -> None:
    (shop.source / "db" / "v.ibd").write_bytes(os.urandom(300_000))
    (shop.source / "db" / "w.ibd").write_bytes(os.urandom(5_000_000))


def state_of(target: Path) -> dict[str, bytes]:
    return {str(p.relative_to(target)): p.read_bytes() for p in sorted(target.rglob("*")) if p.is_file()}


def test_only_what_differs_is_fetched_and_nothing_is_left(shop: Shop, tmp_path: Path) -> None:
    target = broken(shop, tmp_path / "t")
    answer = shop.json("restore", "--to", target, "--in-place", "--yes")
    assert same_tree(shop.source, target)
    whole = sum(p.stat().st_size for p in shop.source.rglob("*") if p.is_file())
    assert answer["bytes"] == whole
    assert 6000 <= answer["fetched_bytes"] < whole / 3


def test_the_directory_is_typed_before_anything_changes(shop: Shop, tmp_path: Path) -> None:
    target = broken(shop, tmp_path / "t")
    before = state_of(target)
    words = ["restore", "--to", str(target), "--in-place", "--config", str(shop.config)]
    refused = CliRunner().invoke(cli, words, input="yes\n")
    assert refused.exit_code == 2
    assert "is kept until the new one is whole" in refused.stderr
    assert "was not confirmed" in refused.stderr
    assert state_of(target) == before
    done = CliRunner().invoke(cli, words, input=f"{target}\n")
    assert done.exit_code == 0, done.output
    assert same_tree(shop.source, target)


def test_what_is_no_data_directory_of_the_backup_is_refused(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "letter").write_text("precious")
    refused = shop.run("restore", "--to", home, "--in-place", "--yes", exit_code=2)
    assert "has nothing of a data directory" in refused.stderr
    assert (
        "is no directory"
        in shop.run("restore", "--to", tmp_path / "no", "--in-place", "--yes", exit_code=2).stderr
    )
    assert (home / "letter").read_text() == "precious"
    shop.run("restore", "--to", home, "--in-place", "--force", exit_code=2)


def test_a_damaged_backup_leaves_the_old_state_alone(shop: Shop, tmp_path: Path) -> None:
    target = broken(shop, tmp_path / "t")
    before = state_of(target)
    for stored in [*shop.store.glob("chunks/*/*"), *shop.store.glob("bundles/*/*")]:
        stored.unlink()
    shop.run("restore", "--to", target, "--in-place", "--yes", exit_code=4)
    kept = {name: data for name, data in state_of(target).items() if not name.startswith(".restore-replay")}
    assert kept == before


def test_without_room_for_both_the_old_state_gives_way(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, copy = broken(shop, tmp_path / "t"), tmp_path / "copy"
    copy.mkdir()
    os.link(target / "db" / "v.ibd", copy / "v.ibd")
    kept = (copy / "v.ibd").read_bytes()
    monkeypatch.setattr(in_place, "keeps_old", lambda *_: False)
    words = ["restore", "--to", str(target), "--in-place", "--config", str(shop.config)]
    assert "is LOST at once" in CliRunner().invoke(cli, words, input="\n").stderr

    most = 0

    def measured(done: int, total: int) -> None:
        nonlocal most
        most = max(most, allocated_bytes(target))

    manifest = shop.repository.catalog().backups[-1].manifest
    files = shop.repository.load_files(manifest)
    result = in_place.restore_in_place(
        shop.repository,
        manifest,
        target,
        files,
        transfer=Transfer(threads=1),
        progress=measured,
        cancelled=lambda: False,
    )
    assert same_tree(shop.source, target)
    assert result.fetched_bytes < result.bytes / 3
    whole = allocated_bytes(shop.source)
    assert most < whole * 1.1, "chunks of the old state were kept"
    assert (copy / "v.ibd").read_bytes() == kept


def test_another_backup_does_not_continue_a_swap(shop: Shop, tmp_path: Path) -> None:
    target = broken(shop, tmp_path / "t")
    first = shop.repository.catalog().backups[-1].backup_id
    calls = calls_of(shop, tmp_path)
    (shop.source / "db" / "u.ibd").write_bytes(b"u" * 70_000)
    shop.publish()
    for call in range(calls, 0, -1):
        old = ("--backup", first)
        if killed_at(shop, target, call, *old).returncode and (target / ".restore-replay-old").exists():
            break
        shutil.rmtree(target)
        shutil.copytree(shop.source, target)
    refused = shop.run("restore", "--to", target, "--in-place", "--yes", exit_code=2)
    assert f"--backup {first}" in refused.stderr
    shop.run("restore", "--to", target, "--in-place", "--yes", "--backup", first)
    assert not (target / "db" / "u.ibd").exists()


def killed_at(shop: Shop, target: Path, call: int, *more: str) -> subprocess.CompletedProcess[str]:
    return restore_killed_at(call, "--to", target, "--in-place", "--yes", "--config", shop.config, *more)


def calls_of(shop: Shop, tmp_path: Path) -> int:
    whole = killed_at(shop, broken(shop, tmp_path / "whole"), 0)
    return int(whole.stderr.split()[-1])


def killed_and_called_again(shop: Shop, tmp_path: Path, call: int) -> None:
    target = broken(shop, tmp_path / f"killed-{call}")
    assert killed_at(shop, target, call).returncode == -9
    old = target / ".restore-replay-old"
    whole = {str(p.relative_to(shop.source)) for p in shop.source.rglob("*") if p.is_file()}
    if not old.exists():
        # The new state is not whole yet, so the old one must be.
        assert (target / "db" / "stranger.ibd").exists() or whole <= state_of(target).keys()
    shop.run("restore", "--to", target, "--in-place", "--yes")
    assert same_tree(shop.source, target)
    shutil.rmtree(target)


def test_p12_a_restore_in_place_that_is_killed_is_resumed(shop: Shop, tmp_path: Path) -> None:
    for call in moments(calls_of(shop, tmp_path), 4):
        killed_and_called_again(shop, tmp_path, call)


@pytest.mark.sweep(guards="a restore in place that is killed at any of 20 moments is resumed")
def test_p12_killed_at_20_moments(shop: Shop, tmp_path: Path) -> None:
    for call in moments(calls_of(shop, tmp_path), 20):
        killed_and_called_again(shop, tmp_path, call)
