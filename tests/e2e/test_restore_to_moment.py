"""Restores to a moment from the archive, with the primary dead and its data directory removed."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from airflow_restore_replay.cli.report_page import page
from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.errors import (
    ChunkCorrupt,
    LogCorrupt,
    LogMissing,
    MomentRefused,
    TargetNotEmpty,
)
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.jobs.protocol import Progress
from airflow_restore_replay.core.recovery import in_place
from airflow_restore_replay.core.recovery.drill import drill
from airflow_restore_replay.core.recovery.measurements import RTO_PHASES
from airflow_restore_replay.core.recovery.moment import replayed_node
from airflow_restore_replay.core.recovery.moment.guard import links_into
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.report import report_of
from airflow_restore_replay.core.recovery.restore import restore_backup
from airflow_restore_replay.core.recovery.target_dir import SCRATCH
from airflow_restore_replay.core.recovery.to_moment import MomentRestore
from airflow_restore_replay.core.repository.format.records import BackupState, LogPiece, Outcome
from airflow_restore_replay.core.times import stamp
from tests.support.archives import archive_logs
from tests.support.flavors import Kit, on_both
from tests.support.independent import dump_text
from tests.support.primary import Primary
from tests.support.rig import Rig, copy_repository, processes_in
from tests.support.seeding import seeded_copy


@dataclass
class Story:
    """What happened on a primary that is gone.

    :param dumps: what it held at each moment, as its own dump program showed it.
    :param drop: GTID of the transaction that dropped a table.
    :param noon: a moment between two transactions.
    :param backups: ids, oldest first.
    """

    kit: Kit
    rig: Rig
    dumps: dict[str, str]
    drop: str
    noon: datetime
    after_last: datetime
    backups: list[str]
    pieces: list[LogPiece]

    def wanted(self, name: str) -> Wanted:
        return {
            "noon": Wanted(kind="at", text=self.noon.isoformat(" ")),
            "before": Wanted(kind="before_gtid", text=self.drop),
            "to": Wanted(kind="to_gtid", text=self.drop),
            "latest": Wanted(kind="latest"),
        }[name]


def now_of(primary: Primary) -> datetime:
    ((now,),) = primary.execute("SELECT UTC_TIMESTAMP(6)")
    found: datetime = now.replace(tzinfo=UTC)
    return found


def next_second(primary: Primary) -> datetime:
    """Wait until the primary's clock, whose stamps have whole seconds, shows the next one, and return that."""
    begun = now_of(primary)
    boundary = begun.replace(microsecond=0) + timedelta(seconds=1)
    while now_of(primary) < boundary:
        time.sleep(0.02)
    return boundary


def dump(primary: Primary) -> str:
    return dump_text(primary.endpoint(), primary)


def position(primary: Primary) -> Any:
    flavor = get_flavor(primary.flavor)
    with flavor.connect(primary.endpoint()) as conn:
        return flavor.primary_position(conn)


def last_gtid(primary: Primary) -> str:
    return str(list(position(primary).last() if primary.flavor == "mysql" else position(primary))[0])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, kit: Kit) -> Story:
    rig = seeded_copy(kit, tmp_path_factory.mktemp("story"), {})
    primary, dumps = rig.primary, dict[str, str]()
    try:
        primary.execute(
            "CREATE TABLE shop.later (id INT PRIMARY KEY, body VARCHAR(100)) ENGINE=InnoDB",
            "CREATE EVENT shop.nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.notes LIMIT 1",
            *(f"INSERT INTO shop.later VALUES ({n}, REPEAT('{n} ', 20))" for n in range(300)),
            "FLUSH BINARY LOGS",
        )
        rig.published(rig.cycle())
        _write(primary, "noon", 400)
        primary.execute("FLUSH BINARY LOGS", "CREATE USER late@localhost", "DELETE FROM shop.notes LIMIT 7")
        dumps["noon"] = dump(primary)
        noon = next_second(primary)
        _write(primary, "afternoon", 100)
        primary.execute(
            "CREATE TABLE shop.opened (id INT PRIMARY KEY, body TEXT) ENGINE=InnoDB",
            "INSERT INTO shop.opened VALUES (1, 'since the backup')",
        )
        primary.execute("UPDATE shop.orders SET total = total + 1 WHERE id % 3 = 0")
        dumps["before"] = dump(primary)
        primary.execute("DROP TABLE shop.orders")
        drop, dumps["to"] = last_gtid(primary), dump(primary)
        primary.execute("FLUSH BINARY LOGS")
        _write(primary, "evening", 50)
        dumps["latest"] = dump(primary)
        after_last = next_second(primary)
        pieces = archive_logs(rig.repository(), primary)
        backups = [b.backup_id for b in rig.catalog().backups]
    finally:
        primary.discard()
    shutil.rmtree(primary.root)
    return Story(kit, rig, dumps, drop, noon, after_last, backups, pieces)


def _write(primary: Primary, what: str, count: int) -> None:
    with primary.connect() as conn, conn.cursor() as cursor:
        for n in range(count):
            cursor.execute("INSERT INTO shop.notes VALUES (%s)", (f"{what} {n}",))


@pytest.fixture
def own(story: Story, tmp_path: Path) -> Rig:
    """The story's repository, as a copy of the test's own."""
    rig = Rig(story.rig.primary, tmp_path)
    copy_repository(story.rig, rig)
    return rig


def restore(rig: Rig, wanted: Wanted, target: Path, **options: Any) -> RestoredToMoment:
    options = {"report": Reporter(lambda progress: None)} | options
    return MomentRestore(rig.repository(write=False), rig.cluster(), wanted, target, **options).run()


def held_by(kit: Kit, target: Path, restored: RestoredToMoment | None = None) -> str:
    """Return what a server on the restored directory holds; compare its position."""
    assert target.name == "data", "where a primary has its data"
    copy = kit.primary.start(target.parent, options=["--skip-slave-start", "--event-scheduler=OFF"])
    try:
        if restored:
            with copy.connect() as conn:
                executed = get_flavor(kit.flavor).executed_position(conn)
            assert str(executed) == restored.position
        assert (
            copy.execute("SHOW REPLICA STATUS" if kit.flavor == "mysql" else "SHOW ALL SLAVES STATUS") == []
        )
        return dump(copy)
    finally:
        copy.discard()


def nothing_left(target: Path) -> None:
    assert processes_in(target) == []
    assert not (target / SCRATCH).exists()
    assert not [p for p in target.rglob("*") if p.name in ("master.info", "auto.cnf", "server.key", "ca.pem")]


@on_both
@pytest.mark.parametrize("moment", ["noon", "before", "to", "latest"])
def test_each_moment_comes_back_without_the_primary(story: Story, tmp_path: Path, moment: str) -> None:
    target = tmp_path / "copy" / "data"
    restored = restore(story.rig, story.wanted(moment), target)
    nothing_left(target)
    assert restored.backup_id == story.backups[-1]
    assert restored.fell_back == {}
    assert restored.new_events == ()
    assert restored.event_sql == ("ALTER EVENT `shop`.`nightly` ENABLE;",)
    if moment == "before":
        assert restored.next_gtid == story.drop
    if moment == "noon":
        assert restored.next_stamped >= stamp(story.noon)
    assert held_by(story.kit, target, restored) == story.dumps[moment]


@on_both
def test_files_that_arrive_one_by_one_are_served_one_after_the_other(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replayed_node, "MOST_AHEAD_BYTES", 1)
    target, phases = tmp_path / "copy" / "data", list[str]()

    def note(progress: Progress) -> None:
        if progress.phase == "replaying" and progress.detail.count(" to ") == 1:
            phases.append(progress.detail)

    restored = restore(story.rig, story.wanted("latest"), target, report=Reporter(note))
    assert len(phases) > 1, "the server was started for each file, or for two"
    assert held_by(story.kit, target, restored) == story.dumps["latest"]


@on_both
def test_the_command_line_restores_to_a_time(story: Story, own: Rig, tmp_path: Path) -> None:
    config = tmp_path / "clusters.yaml"
    section = own.section(timezone="Asia/Tokyo")
    config.write_text(yaml.safe_dump({"clusters": {"orders": section}}))
    target = tmp_path / "copy" / "data"
    local = (story.noon + timedelta(hours=9)).replace(tzinfo=None)
    command = [*CLI, "restore", "--config", str(config), "--to", str(target), "--at", str(local), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert datetime.fromisoformat(answer["at"]) == story.noon
    assert {"plan", "restore", "start", "replay", "stop", "move"} == answer["phases"].keys()
    for phase in ("restoring", "starting the server", "replaying", "stopping the server"):
        assert phase in done.stderr
    nothing_left(target)
    assert held_by(story.kit, target) == story.dumps["noon"]


@on_both
def test_a_dropped_table_comes_back_as_a_dump_and_a_server_runs_on_its_last_moment(
    story: Story, own: Rig, tmp_path: Path
) -> None:
    config, target = tmp_path / "clusters.yaml", tmp_path / "copy" / "data"
    config.write_text(yaml.safe_dump({"clusters": {"orders": own.section()}}))
    dumped = tmp_path / "orders.sql.zst"
    command = [*CLI, "restore", "--config", str(config), "--json", "--before-gtid", story.drop]
    opened = ["--tables", "shop.opened", "--dump", str(dumped), "--dry-run"]
    done = subprocess.run([*command, *opened], capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["tables"]) == (0, ["shop.opened"]), done.stderr
    # One table is of the backup, the other was made since.
    table = ["--tables", "shop.o%", "--dump", str(dumped)]
    done = subprocess.run([*command, *table], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with dumped.open("rb") as file:
        sql = zstandard.ZstdDecompressor().stream_reader(file).read().decode("utf-8", "surrogateescape")
    rows = [line for line in story.dumps["before"].splitlines() if line.startswith("INSERT INTO `orders` ")]
    assert rows
    assert "INSERT INTO `orders`" in sql
    assert "since the backup" in sql
    assert "INSERT INTO `notes`" not in sql

    done = subprocess.run(
        [*command, "--to", str(target), "--start"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    running = answer["running"]
    try:
        ask = f"{running['commands']['connect']} --batch --skip-column-names"
        sql = "SELECT COUNT(*) FROM shop.orders"
        count = subprocess.run(ask, input=sql, shell=True, capture_output=True, text=True, check=True).stdout
        assert int(count) == len(rows)
        assert answer["next_gtid"] == story.drop
    finally:
        subprocess.run(running["commands"]["stop"], shell=True, check=True)
    deadline = time.monotonic() + 60
    while processes_in(target):
        assert time.monotonic() < deadline, "the server goes on after it was told to stop"
        time.sleep(0.1)


CLI = (sys.executable, "-c", "from airflow_restore_replay.cli.main import main; main()")
PHASES = (
    "restoring",
    "starting the server",
    "waiting for archived logs",
    "replaying",
    "stopping the server",
    "putting the data in place",
)


@on_both
def test_a40_killed_at_many_moments_it_resumes_and_leaves_no_process(story: Story, tmp_path: Path) -> None:
    config = tmp_path / "clusters.yaml"
    config.write_text(yaml.safe_dump({"clusters": {"orders": story.rig.section()}}))
    target = tmp_path / "copy" / "data"
    command = [*CLI, "restore", "--config", str(config), "--to", str(target), "--before-gtid", story.drop]
    for phase in PHASES:
        killed_in(command, phase)
        deadline = time.monotonic() + 60
        while left := [*processes_in(target), *links_into(target)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed"] is True
    nothing_left(target)
    assert held_by(story.kit, target) == story.dumps["before"]


def killed_in(command: list[str], phase: str) -> None:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if phase in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(60)
    process.stdout.close()
    assert phase in said[-1] or process.returncode == 0, said


def test_a40_an_interrupted_restore_resumes_the_same_moment_only(
    story: Story, own: Rig, tmp_path: Path
) -> None:
    target = tmp_path / "copy" / "data"

    class Interrupted(Exception):
        pass

    def interrupt(progress: Any) -> None:
        if progress.phase == "replaying":
            raise Interrupted

    with pytest.raises(Interrupted):
        restore(own, story.wanted("noon"), target, report=Reporter(interrupt))
    assert processes_in(target) == []
    with pytest.raises(TargetNotEmpty, match="interrupted restore of orders to at "):
        restore(own, story.wanted("latest"), target)
    restored = restore(own, story.wanted("noon"), target)
    assert restored.resumed
    assert restored.fetched_bytes < restored.bytes / 2, "what was there already is not fetched again"
    assert held_by(story.kit, target, restored) == story.dumps["noon"]


@on_both
def test_a41_a_base_that_fails_falls_back_to_an_older_one_loudly(
    story: Story, own: Rig, tmp_path: Path
) -> None:
    own.flip_byte(own.chunk_of(story.backups[-1], "shop/later.ibd"))
    target, said = tmp_path / "copy" / "data", list[str]()
    restored = restore(own, story.wanted("noon"), target, say=said.append)
    assert restored.backup_id == story.backups[0]
    assert "ChunkCorrupt" in restored.fell_back[story.backups[-1]]
    assert any("FAILED, and an older one is tried" in line for line in said)
    assert held_by(story.kit, target, restored) == story.dumps["noon"]


def tree(*roots: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of all files and directories."""
    found = [path for root in roots for path in (root, *root.rglob("*"))]
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in found}


def on_terminal(command: list[str], columns: int) -> str:
    """Run a command on a terminal of that width, and return its output."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "dumb"}
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        text = b""
        while block := terminal.read(65536):
            text += block
    assert done.returncode == 0, done.stderr
    return text.decode()


@on_both
def test_a_dry_run_shows_what_the_restore_then_does_and_writes_nothing(
    story: Story, own: Rig, tmp_path: Path
) -> None:
    config, target = tmp_path / "clusters.yaml", tmp_path / "copy" / "data"
    config.write_text(yaml.safe_dump({"clusters": {"orders": own.section()}}))
    command = [*CLI, "restore", "--config", str(config), "--to", str(target), "--before-gtid", story.drop]
    before = tree(own.repository_dir, tmp_path)
    done = subprocess.run([*command, "--dry-run", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tree(own.repository_dir, tmp_path) == before
    plan = json.loads(done.stdout)
    assert [base["backup_id"] for base in plan["bases"]] == story.backups[::-1]
    assert plan["backup_id"] == story.backups[-1]
    assert (plan["next_gtid"], plan["damaged"]) == (story.drop, [])
    (release,) = [f for f in plan["findings"] if (f["subject"], f["name"]) == ("server", "release")]
    assert (release["severity"], plan["server_release"] in release["expected"]) == ("ok", True)
    assert plan["size_bytes"] < plan["disk_bytes"] < plan["free_bytes"]
    assert plan["bases"][0]["log_pieces"] > 1
    expected = plan["expected"]
    assert expected["phases"]["restore"] > 0, "cycles measured it"
    assert (expected["phases"]["replay"], expected["seconds"]) == (None, None)
    assert any(story.drop in text for text in plan["not_covered"])

    shown = on_terminal([*command, "--dry-run"], 80)
    for text in (
        story.backups[0],
        story.drop,
        "replay not known yet",
        "pieces of the archive",
        plan["position"],
    ):
        assert text in " ".join(shown.split()), shown
    assert max(len(line) for line in shown.splitlines()) <= 80

    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    for name in ("backup_id", "position", "next_gtid", "next_stamped"):
        assert answer[name] == plan[name]
    assert answer["log_bytes"] == plan["bases"][0]["log_bytes"]
    assert answer["bytes"] >= plan["size_bytes"] >= answer["fetched_bytes"]

    report = report_of(own.repository(), own.cluster(), datetime.now(UTC))
    (restored,) = report.restores
    assert (restored.kind, restored.phases) == ("restore", answer["phases"])
    assert report.drills == ()
    assert report.expected_s is not None
    done = subprocess.run(
        [*command[:-3], str(tmp_path / "next"), *command[-2:], "--dry-run", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = json.loads(done.stdout)["expected"]
    assert expected["seconds"] == round(sum(expected["phases"].values()), 1)


@pytest.mark.parametrize(
    "words",
    [
        ["--at", "2001-01-01 00:00Z"],
        ["--to-gtid", "0-1-999999"],
        ["--at", "tomorrow"],
        ["--latest", "--start", "--port", "PORT"],
        ["--latest", "--tables", "shop.orderz", "--dump", "x.sql.zst"],
    ],
)
def test_a_dry_run_refuses_as_the_restore_does(story: Story, tmp_path: Path, words: list[str]) -> None:
    config = tmp_path / "clusters.yaml"
    config.write_text(yaml.safe_dump({"clusters": {"orders": story.rig.section()}}))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = [word.replace("PORT", str(taken.getsockname()[1])) for word in words]
        command = [*CLI, "restore", "--config", str(config), "--to", str(tmp_path / "t"), "--json", *words]
        real, dry = (
            subprocess.run([*command, *more], capture_output=True, text=True, check=False)
            for more in ([], ["--dry-run"])
        )
    assert real.returncode == dry.returncode == 2, (real.stderr, dry.stderr)
    errors = [
        json.JSONDecoder().raw_decode(r.stdout[r.stdout.rindex('{\n  "error"') :])[0] for r in (real, dry)
    ]
    assert errors[0] == errors[1]
    assert not (tmp_path / "t").exists()


def broken_data(rig: Rig, backup_id: str, target: Path) -> dict[str, bytes]:
    """Make a data directory of a backup that is broken; return what it holds."""
    manifest = rig.catalog().backup(backup_id).manifest
    restore_backup(rig.repository(), manifest, target, transfer=rig.cluster().transfer)
    with (target / "shop" / "orders.ibd").open("r+b") as file:
        file.truncate(5_000_000)
    with (target / "ibdata1").open("r+b") as file:
        file.write(b"broken")
    (target / "stranger").write_text("old")
    return content_of(target)


def content_of(target: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(target)): p for p in sorted(target.rglob("*")) if p.is_file()}
    return {name: p.read_bytes() for name, p in found.items() if not name.startswith(".restore-replay")}


@on_both
def test_a_broken_data_directory_becomes_the_data_of_a_moment(story: Story, own: Rig, tmp_path: Path) -> None:
    config, target = tmp_path / "clusters.yaml", tmp_path / "copy" / "data"
    config.write_text(yaml.safe_dump({"clusters": {"orders": own.section()}}))
    old = broken_data(own, story.backups[-1], target)
    command = [*CLI, "restore", "--config", str(config), "--to", str(target), "--in-place"]
    command += ["--before-gtid", story.drop]
    before = tree(target)
    done = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kept until the new one is whole" in " ".join(done.stdout.split())
    done = subprocess.run(command, input="yes\n", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"becomes the data before-gtid {story.drop}. The old state is kept" in done.stderr
    assert tree(target) == before

    part = part_of(own, drop_number(story) - 1, piece=-1)
    content = part.read_bytes()
    own.flip_byte(part)
    done = subprocess.run([*command, "--yes"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert (target / SCRATCH).is_dir(), "it was found while the restore replayed"
    assert content_of(target) == old, "the old state stays until the new one is whole"
    part.write_bytes(content)
    plain = [*CLI, "restore", "--config", str(config), "--to", str(target), "--in-place", "--yes"]
    done = subprocess.run(plain, capture_output=True, text=True, check=False)
    assert (done.returncode, "an interrupted restore to a moment" in done.stderr) == (2, True)
    shutil.rmtree(target / SCRATCH)

    done = subprocess.run([*command, "--yes", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["fetched_bytes"] < answer["bytes"] / 2
    assert sorted(p.name for p in target.iterdir() if p.name.startswith(".restore-replay")) == []
    assert not (target / "stranger").exists()
    nothing_left(target)
    assert report_of(own.repository(), own.cluster(), datetime.now(UTC)).measured == ()
    assert held_by(story.kit, target) == story.dumps["before"]


def test_without_room_for_both_states_the_old_one_gives_way(
    story: Story, own: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy" / "data"
    broken_data(own, story.backups[-1], target)
    monkeypatch.setattr(in_place, "keeps_old", lambda *_: False)
    restored = restore(own, story.wanted("before"), target, in_place=True)
    assert restored.fetched_bytes < restored.bytes / 2
    assert held_by(story.kit, target, restored) == story.dumps["before"]


@on_both
def test_a40_a_restore_in_place_that_is_killed_is_resumed_or_leaves_the_old_state(
    story: Story, own: Rig, tmp_path: Path
) -> None:
    config, target = tmp_path / "clusters.yaml", tmp_path / "copy" / "data"
    config.write_text(yaml.safe_dump({"clusters": {"orders": own.section()}}))
    old = broken_data(own, story.backups[-1], target)
    command = [*CLI, "restore", "--config", str(config), "--to", str(target), "--in-place", "--yes"]
    command += ["--before-gtid", story.drop]
    for phase in ("restoring", "replaying", "stopping the server"):
        killed_in(command, phase)
        assert content_of(target) == old
    killed_in(command, "putting the data in place")
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed"] is True
    assert sorted(p.name for p in target.iterdir() if p.name.startswith(".restore-replay")) == []
    nothing_left(target)
    assert held_by(story.kit, target) == story.dumps["before"]


def piece_files(rig: Rig, number: int) -> list[Path]:
    pieces = {p.piece_id for p in Archive.read(rig.repository()).pieces if p.number == number}
    return [f for f in (rig.repository_dir / "logpieces").iterdir() if f.stem in pieces]


def part_of(rig: Rig, number: int, piece: int = 0) -> Path:
    """Return the stored bytes of a piece of a file."""
    pieces = [p for p in Archive.read(rig.repository()).pieces if p.number == number]
    found = sorted(pieces, key=lambda p: p.begin)[piece]
    return rig.repository_dir / "logdata" / f"{found.parts[0].object}.zst"


def drop_number(story: Story) -> int:
    """Return the number of the file before the one that begins after the drop."""
    return max(p.number for p in story.pieces) - 1


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (
            Wanted(kind="at", text="2001-01-01 00:00Z"),
            "no healthy backup is from before it. Reachable: the first",
        ),
        (
            Wanted(kind="at", text="2051-01-01 00:00Z"),
            "the clock of this host shows .* Reachable: the last",
        ),
        (Wanted(kind="at", text="tomorrow"), "'tomorrow' is not a time"),
        (Wanted(kind="at", text="5 fortnights ago"), "unknown unit 'fortnights'"),
        (Wanted(kind="before_gtid", text="orders"), "is not a MariaDB GTID"),
        (Wanted(kind="to_gtid", text="0-1-999999"), "do not have 0-1-999999"),
        (Wanted(kind="to_gtid", text="7-1-1"), "do not have 7-1-1"),
        (Wanted(kind="to_gtid", text="0-1-1"), "do not have 0-1-1"),
    ],
)
def test_a46_moments_that_are_none(story: Story, tmp_path: Path, wanted: Wanted, why: str) -> None:
    with pytest.raises(MomentRefused, match=why):
        restore(story.rig, wanted, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_transaction_of_another_server(story: Story, tmp_path: Path) -> None:
    domain, _, number = story.drop.split("-")
    with pytest.raises(MomentRefused, match=f"has {story.drop} where {domain}-9-{number} would be"):
        restore(story.rig, Wanted(kind="to_gtid", text=f"{domain}-9-{number}"), tmp_path / "target")


def test_a_moment_after_all_that_is_archived(story: Story, tmp_path: Path) -> None:
    later = max(p.current_at for p in story.pieces if p.current_at) + timedelta(seconds=0.5)
    while datetime.now(UTC) < later:
        time.sleep(0.05)
    with pytest.raises(MomentRefused, match="Reachable: the last moment before it is") as caught:
        restore(story.rig, Wanted(kind="at", text=later.isoformat()), tmp_path / "target")
    before = datetime.fromisoformat(str(caught.value.evidence["nearest_before"]))
    assert abs(before - later) < timedelta(seconds=2)


def test_targets(story: Story, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").write_text("data")
    with pytest.raises(TargetNotEmpty, match="precious among them"):
        restore(story.rig, story.wanted("latest"), target)
    assert os.listdir(target) == ["precious"]
    with pytest.raises(TargetNotEmpty, match="not a directory"):
        restore(story.rig, story.wanted("latest"), target / "precious")


def test_a42_a_gap(story: Story, own: Rig, tmp_path: Path) -> None:
    """The file with the drop is gone: before it everything is reachable, after it nothing."""
    for file in piece_files(own, drop_number(story)):
        file.unlink()
    for moment in ("before", "to", "latest"):
        with pytest.raises(MomentRefused, match="Reachable: "):
            restore(own, story.wanted(moment), tmp_path / "target")
    with pytest.raises(MomentRefused, match="no archived binary logs lead from a healthy backup") as caught:
        restore(own, Wanted(kind="at", text=story.after_last.isoformat()), tmp_path / "target")
    assert caught.value.evidence["nearest_before"] < stamp(story.after_last)
    assert not (tmp_path / "target").exists()


def test_a42_a_damaged_record_is_a_gap_that_is_named(story: Story, own: Rig, tmp_path: Path) -> None:
    damaged = piece_files(own, drop_number(story))[0]
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(MomentRefused, match=f"damaged records: .*{damaged.name}"):
        restore(own, story.wanted("latest"), tmp_path / "target")


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a43_damaged_bytes_are_named_with_what_is_reachable(
    story: Story, own: Rig, tmp_path: Path, damage: str
) -> None:
    part = part_of(own, max(p.number for p in story.pieces))
    if damage == "flipped":
        own.flip_byte(part)
    elif damage == "truncated":
        part.write_bytes(part.read_bytes()[:-9])
    else:
        part.unlink()
    with pytest.raises(
        LogMissing if damage == "missing" else LogCorrupt, match="Reachable is all up to"
    ) as caught:
        restore(own, story.wanted("latest"), tmp_path / "copy" / "data")
    assert story.drop in caught.value.message
    assert processes_in(tmp_path) == []
    restored = restore(own, story.wanted("to"), tmp_path / "copy" / "data", force=True)
    assert held_by(story.kit, tmp_path / "copy" / "data", restored) == story.dumps["to"]


def test_a43_swapped_pieces(story: Story, own: Rig, tmp_path: Path) -> None:
    first, second = (part_of(own, drop_number(story) + n) for n in (0, 1))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(LogCorrupt, match="Reachable is all up to"):
        restore(own, story.wanted("latest"), tmp_path / "target")


@on_both
def test_a44_a_failover_with_overlapping_gtids_leads_through_both_servers(
    own_rig: Any, kit: Kit, tmp_path: Path
) -> None:
    """What the old primary logged last, the new one never got: it is not part of the history."""
    rig = own_rig()
    old, new = rig.primary, kit.start_replica(tmp_path / "second", rig.primary)
    try:
        _write(old, "both", 30)
        reaches(new, old)
        new.execute("FLUSH BINARY LOGS")
        overlap = new.execute("SHOW BINARY LOGS")[-1][0]
        _write(old, "both, overlapping", 30)
        reaches(new, old)
        new.promote()
        old.execute("INSERT INTO shop.notes VALUES ('lost')")
        lost = last_gtid(old)
        archive_logs(rig.repository(), old, stream="20260101T000000Z-00000001")
        old.kill()
        _write(new, "new", 30)
        names = [str(row[0]) for row in new.execute("SHOW BINARY LOGS")]
        archive_logs(
            rig.repository(), new, stream="20260102T000000Z-00000002", logs=names[names.index(overlap) :]
        )
        expected = dump(new)
    finally:
        new.discard()
    shutil.rmtree(tmp_path / "second")
    shutil.rmtree(old.datadir)
    target = tmp_path / "copy" / "data"
    restored = restore(rig, Wanted(kind="latest"), target)
    assert held_by(kit, target, restored) == expected
    target = tmp_path / "other" / "data"
    restored = restore(rig, Wanted(kind="to_gtid", text=lost), target)
    assert "('lost')" in held_by(kit, target, restored)


@on_both
def test_pieces_that_end_within_a_large_transaction(own_rig: Any, kit: Kit, tmp_path: Path) -> None:
    rig = own_rig()
    primary, dumps = rig.primary, dict[str, str]()
    primary.execute("INSERT INTO shop.notes VALUES ('before')")
    next_second(primary)
    primary.execute("UPDATE shop.orders SET total = total + 1")
    large = last_gtid(primary)
    primary.execute("INSERT INTO shop.notes VALUES ('between')")
    dumps["noon"] = dump(primary)
    noon = next_second(primary)
    primary.execute("DELETE FROM shop.notes")
    archive_logs(rig.repository(), primary, within=True)
    primary.kill()
    assert any(p.transactions == 0 for p in Archive.read(rig.repository()).pieces if p.end > p.begin)
    for wanted in (Wanted(kind="at", text=noon.isoformat()), Wanted(kind="to_gtid", text=large)):
        target = tmp_path / wanted.kind / "data"
        restored = restore(rig, wanted, target)
        held = held_by(kit, target, restored)
        assert (held == dumps["noon"]) == (wanted.kind == "at")
        assert ("'between'" in held, "'before'" in held) == (wanted.kind == "at", True)


def reaches(replica: Primary, source: Primary) -> None:
    deadline = time.monotonic() + 60
    while not position(replica).contains(position(source)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


class _Loaded(random.Random):
    """Dice for a moment before the end of the window."""

    def __new__(cls, until_end_s: float) -> _Loaded:
        return super().__new__(cls)

    def __init__(self, until_end_s: float) -> None:
        super().__init__()
        self._until_end_s = until_end_s

    def uniform(self, a: float, b: float) -> float:
        return b - self._until_end_s


def test_a_drill_measures_records_and_leaves_nothing(story: Story, own: Rig, tmp_path: Path) -> None:
    before = {b.backup_id: (b.proof, b.state) for b in own.catalog().backups}
    # Noon, so that there is something to replay.
    window = Archive.read(own.repository()).window(own.catalog(), get_flavor("mariadb"))
    assert window.end
    dice = _Loaded(until_end_s=(window.end - story.noon).total_seconds())
    measured = drill(own.repository(), own.cluster(), report=Reporter(lambda p: None), say=print, dice=dice)
    assert measured["transactions"] > 0
    assert measured["phases"].keys() == {"start", "check", *RTO_PHASES}
    assert measured["at"] <= story.after_last.isoformat()
    assert not own.workdir.exists()
    assert processes_in(tmp_path) == []
    assert {b.backup_id: (b.proof, b.state) for b in own.catalog().backups} == before
    assert before[measured["backup_id"]][1] is BackupState.HEALTHY
    cluster = own.cluster(drill={"rto_target": "1ms"})
    report = report_of(own.repository(), cluster, datetime.now(UTC))
    (drilled,) = report.drills
    assert drilled.rto_s == round(sum(measured["phases"][name] for name in RTO_PHASES), 3)
    assert (report.failed, report.meets_target) == (0, False)
    assert report.expected_s is not None
    assert report.rpo_s is not None
    text = page([report])
    assert "orders" in text
    assert text.count("<rect") == len(RTO_PHASES)
    assert "http" not in text


def test_a_drill_that_finds_damage_quarantines_the_backup_and_fails(
    story: Story, own: Rig, tmp_path: Path
) -> None:
    damaged = story.backups[-1]
    own.flip_byte(own.chunk_of(damaged, "shop/later.ibd"))
    with pytest.raises(ChunkCorrupt):
        drill(own.repository(), own.cluster(), moment="latest", report=Reporter(lambda p: None), say=print)
    assert own.catalog().backup(damaged).state is BackupState.QUARANTINED
    (verdict,) = own.verdicts_against()
    assert (verdict.backup_id, verdict.attempt, verdict.outcome) == (
        damaged,
        "drill",
        Outcome.QUARANTINED,
    )
    assert report_of(own.repository(), own.cluster(), datetime.now(UTC)).failed == 1
    assert not own.workdir.exists()


def test_the_report_of_all_clusters(story: Story, own: Rig, tmp_path: Path) -> None:
    config, html = tmp_path / "clusters.yaml", tmp_path / "report.html"
    config.write_text(yaml.safe_dump({"clusters": {"orders": own.section()}}))
    command = [*CLI, "report", "--config", str(config), "--html", str(html)]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "orders" in table
    assert "never" in table
    assert "No drill or restore was recorded" in html.read_text()
    answer = json.loads(
        subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    )
    assert [(a["cluster"], a["drills"], a["restores"], a["expected_s"]) for a in answer] == [
        ("orders", [], [], None)
    ]
