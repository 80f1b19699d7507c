"""``restore`` for people: complete, refusing, resumable (P4)."""

from __future__ import annotations

import filecmp
import os
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_restore_replay.core.config.sections import Transfer
from airflow_restore_replay.core.errors import TargetNotEmpty
from airflow_restore_replay.core.recovery.restore import restore_backup
from airflow_restore_replay.core.recovery.target_dir import MARKER
from airflow_restore_replay.core.system import beneath
from tests.unit.cli.conftest import Shop


def same_tree(left: Path, right: Path) -> bool:
    names = sorted(p.relative_to(left) for p in left.rglob("*"))
    if names != sorted(p.relative_to(right) for p in right.rglob("*")):
        return False
    plain = [str(n) for n in names if (left / n).is_file()]
    return filecmp.cmpfiles(left, right, plain, shallow=False) == (plain, [], [])


class Interrupted(Exception):
    """Stands for a lost connection."""


def interrupt_a_restore(shop: Shop, target: Path) -> None:
    def progress(done: int, total: int) -> None:
        if done:
            raise Interrupted

    manifest = shop.repository.catalog().backups[-1].manifest
    with pytest.raises(Interrupted):
        restore_backup(shop.repository, manifest, target, transfer=Transfer(), progress=progress)
    assert (target / MARKER).exists()


def test_the_newest_healthy_backup_comes_back_byte_by_byte(shop: Shop, tmp_path: Path) -> None:
    shop.publish(age=timedelta(hours=5))
    (shop.source / "db" / "u.ibd").write_bytes(b"u" * 70_000)
    newest = shop.publish(age=timedelta(hours=1))
    target = tmp_path / "deep" / "target"
    text = shop.run("restore", "--to", target).stdout
    assert same_tree(shop.source, target)
    assert f"Backup {newest.backup_id} is restored into {target}" in text
    assert "--skip-slave-start" in text
    assert target.stat().st_mode & 0o777 == 0o700


def test_json_names_position_hints_and_event_statements(shop: Shop, tmp_path: Path) -> None:
    shop.publish(events={"shop.nightly`": "ENABLED", "shop.off": "DISABLED"})
    answer = shop.json("restore", "--to", tmp_path / "t")
    assert answer["position"] == "0-1-42"
    assert answer["event_sql"] == ["ALTER EVENT `shop`.`nightly``` ENABLE;"]
    assert any("--skip-slave-start" in hint for hint in answer["hints"])
    assert answer["bytes"] == 9_106_000


def test_p4_a_directory_with_content_is_refused_and_left_alone(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    precious = tmp_path / "t" / "precious"
    precious.parent.mkdir()
    precious.write_text("keep me")
    result = shop.run("restore", "--to", precious.parent, exit_code=2)
    assert "is not empty" in result.stderr
    assert "--force" in result.stderr
    assert [p.name for p in precious.parent.iterdir()] == ["precious"]
    assert precious.read_text() == "keep me"


def test_p4_force_leaves_exactly_the_backup(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    target = tmp_path / "t"
    (target / "ibdata1").mkdir(parents=True)  # a directory where the backup has a file
    (target / "db").mkdir()
    (target / "db" / "t.ibd").write_bytes(b"\xff" * 20_000_000)
    (target / "old.ibd").symlink_to("/etc/hostname")
    shop.run("restore", "--to", target, "--force")
    assert same_tree(shop.source, target)


def test_x26_force_writes_through_no_link(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    (victim / "t.ibd").write_text("precious")
    target = tmp_path / "t"
    target.mkdir()
    (target / MARKER).symlink_to(victim / "file")
    (target / f"{MARKER}.tmp").symlink_to(victim / "file")
    (target / "ibdata1").symlink_to(victim / "file")
    (target / "db").symlink_to(victim)
    shop.run("restore", "--to", target, "--force")
    assert same_tree(shop.source, target)
    assert [(p.name, p.read_text()) for p in sorted(victim.iterdir())] == [
        ("file", "precious"),
        ("t.ibd", "precious"),
    ]


def test_x26_force_leaves_a_copy_by_hard_links_alone(shop: Shop, tmp_path: Path) -> None:
    """As ``cp -al`` makes one before somebody restores over the data."""
    shop.publish()
    target, copy = tmp_path / "t", tmp_path / "copy"
    (target / "db").mkdir(parents=True)
    copy.mkdir()
    (target / "db" / "t.ibd").write_bytes(b"\xff" * 20_000_000)
    os.link(target / "db" / "t.ibd", copy / "t.ibd")
    (target / MARKER).write_text("{}")
    os.link(target / MARKER, copy / "marker")
    shop.run("restore", "--to", target, "--force")
    assert same_tree(shop.source, target)
    assert (copy / "t.ibd").read_bytes() == b"\xff" * 20_000_000
    assert (copy / "marker").read_text() == "{}"


@pytest.mark.parametrize("swapped", ["db", "."])
@pytest.mark.parametrize("by_openat2", [True, False])
def test_x26_a_directory_that_becomes_a_link_meanwhile_is_not_followed(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: str, by_openat2: bool
) -> None:
    if not by_openat2:
        monkeypatch.setattr(beneath, "_has_openat2", lambda: False)
    shop.publish()
    target, outside = tmp_path / "t", tmp_path / "outside"
    place = outside if swapped == "db" else outside / "db"
    place.mkdir(parents=True)
    (place / "t.ibd").write_text("precious")

    def swap(done: int, total: int) -> None:
        if not done:
            (target / swapped).resolve().rename(tmp_path / "moved")
            (tmp_path / "t" / "db" if swapped == "db" else target).symlink_to(outside)

    manifest = shop.repository.catalog().backups[-1].manifest
    if swapped == "db":
        with pytest.raises(TargetNotEmpty, match="symbolic link or is behind one"):
            restore_backup(shop.repository, manifest, target, transfer=Transfer(), progress=swap)
    else:
        restore_backup(shop.repository, manifest, target, transfer=Transfer(), progress=swap)
        assert same_tree(shop.source, tmp_path / "moved")
    assert [p.name for p in place.iterdir()] == ["t.ibd"]
    assert (place / "t.ibd").read_text() == "precious"


def test_x26_a_target_that_others_may_change_is_refused(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    target = tmp_path / "t"
    target.mkdir()
    target.chmod(0o777)
    result = shop.run("restore", "--to", target, "--force", exit_code=2)
    assert f"Other accounts may write to {target}" in result.stderr
    assert "chmod go-w" in result.stderr
    assert list(target.iterdir()) == []
    if os.geteuid() == 0:
        target.chmod(0o700)
        os.chown(target, 65534, 65534)
        assert "uid 65534" in shop.run("restore", "--to", target, exit_code=2).stderr
        os.chown(target, 0, 0)
    target.chmod(0o700)
    # What another account can write inside is made anew.
    (target / "db").mkdir()
    (target / "db").chmod(0o777)
    (target / "ibdata1").write_bytes(b"held open by somebody")
    (target / "ibdata1").chmod(0o666)
    kept = os.open(target / "ibdata1", os.O_RDWR)
    shop.run("restore", "--to", target, "--force")
    assert os.fstat(kept).st_nlink == 0
    os.close(kept)
    assert same_tree(shop.source, target)


def test_force_never_touches_a_directory_that_a_server_runs_on(shop: Shop, tmp_path: Path) -> None:
    import subprocess
    import sys

    shop.publish()
    target = tmp_path / "t"
    target.mkdir()
    (target / "ibdata1").write_bytes(b"live")
    # POSIX locks do not exclude their own process.
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl,sys; f=open(sys.argv[1],'r+b'); fcntl.lockf(f,fcntl.LOCK_EX);"
            "print('locked',flush=True); sys.stdin.read()",
            target / "ibdata1",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    try:
        result = shop.run("restore", "--to", target, "--force", exit_code=2)
    finally:
        holder.communicate()
    assert "A server runs on" in result.stderr
    assert (target / "ibdata1").read_bytes() == b"live"


def test_an_interrupted_restore_goes_on(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    target = tmp_path / "t"
    interrupt_a_restore(shop, target)
    (target / "stray").write_text("from between")
    answer = shop.json("restore", "--to", target)
    assert answer["resumed"]
    assert answer["fetched_bytes"] < answer["bytes"]
    assert same_tree(shop.source, target)


def test_another_backups_leftovers_are_refused(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    interrupt_a_restore(shop, tmp_path / "t")
    shop.publish(age=timedelta())
    shop.run("restore", "--to", tmp_path / "t", exit_code=2)


def test_a_corrupt_chunk_is_named_and_nothing_claims_success(shop: Shop, tmp_path: Path) -> None:
    backup_id = shop.publish().backup_id
    for chunk in [*shop.store.glob("chunks/*/*"), *shop.store.glob("bundles/*/*")]:
        content = bytearray(chunk.read_bytes())
        content[len(content) // 2] ^= 1
        chunk.write_bytes(content)
    answer = shop.json("restore", "--to", tmp_path / "t", exit_code=4)
    assert answer["error"]["blame"] == "backup"
    assert backup_id in answer["error"]["message"]
    assert answer["error"]["evidence"]["file"] in ("ibdata1", "db/t.ibd")


def test_a_quarantined_backup_needs_insistence(shop: Shop, tmp_path: Path) -> None:
    backup_id = shop.publish().backup_id
    shop.quarantine(backup_id)
    assert "no healthy backup" in shop.run("restore", "--to", tmp_path / "t", exit_code=2).stderr
    named: list[str | Path] = ["restore", "--to", tmp_path / "t", "--backup", backup_id]
    assert "is quarantined" in shop.run(*named, exit_code=2).stderr
    shop.run(*named, "--quarantined")
    assert same_tree(shop.source, tmp_path / "t")


def test_a_restore_into_a_real_target_is_counted_by_the_report(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    shop.run("restore", "--to", tmp_path / "t")
    (report,) = shop.json("report")
    (restore,) = report["restores"]
    assert (restore["kind"], restore["wanted"], report["drills"]) == ("restore", "", [])
    assert restore["bytes"] == 9_106_000
    assert restore["phases"].keys() == {"plan", "restore"}
    assert restore["rto_s"] == round(sum(restore["phases"].values()), 3)
    assert shop.json("restore", "--to", tmp_path / "u", "--dry-run")["expected"]["measured"] == 1
    # Their time says little about that of a whole restore.
    interrupt_a_restore(shop, tmp_path / "v")
    shop.run("restore", "--to", tmp_path / "v")
    shop.run("restore", "--to", tmp_path / "t", "--in-place", "--yes")
    assert len(shop.json("report")[0]["restores"]) == 1


def test_a_measurement_that_cannot_be_recorded_fails_no_restore(shop: Shop, tmp_path: Path) -> None:
    shop.publish()
    (shop.store / "verdicts").symlink_to("/nowhere/at/all")
    result = shop.run("restore", "--to", tmp_path / "t")
    assert same_tree(shop.source, tmp_path / "t")
    (line,) = [line for line in result.stderr.splitlines() if "not recorded" in line]
    assert "What this restore took is not recorded for the report: The repository" in line
