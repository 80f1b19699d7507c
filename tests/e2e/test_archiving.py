"""Archiving binary logs: whatever happens meanwhile, the archive has the primary's files byte for byte, or says not."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.storing import LEASE_TTL_S
from airflow_restore_replay.core.errors import LeaseHeld, NodeFull, SourceCorrupt, StoreFailed
from airflow_restore_replay.core.flavor.log_file import log_events
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.format.records import LogPiece, utc_now
from airflow_restore_replay.core.repository.objects.record_store import record_path
from tests.e2e.conftest import Seeded
from tests.support.archiving import ArchiveRig, kill, wait_until
from tests.support.disks import small_disk
from tests.support.flavors import Kit, on_both
from tests.support.primary import Primary, WriteLoad
from tests.support.rig import Rig
from tests.support.tls import make_authority

NewPrimary = Callable[..., Primary]
_TABLE = "CREATE TABLE IF NOT EXISTS d.t (id INT AUTO_INCREMENT PRIMARY KEY, c LONGTEXT) ENGINE=InnoDB"
_ROW = "INSERT INTO d.t (c) VALUES ('row')"
_RESET = {"mariadb": "RESET MASTER", "mysql": "RESET BINARY LOGS AND GTIDS"}


def prepared(primary: Primary) -> Primary:
    primary.create_backup_account()
    primary.execute("CREATE DATABASE d", _TABLE, _ROW, "FLUSH BINARY LOGS", _ROW)
    return primary


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, kit: Kit) -> Iterator[Primary]:
    """A primary that no test breaks; each archive of it begins at the newest file."""
    primary = kit.primary.start(tmp_path_factory.mktemp("shared"))
    try:
        yield prepared(primary)
    finally:
        primary.discard()


@pytest.fixture
def rig(shared: Primary, tmp_path: Path) -> ArchiveRig:
    shared.execute("FLUSH BINARY LOGS", _ROW)
    return ArchiveRig(shared, tmp_path)


@pytest.fixture
def own(tmp_path: Path, kit: Kit) -> Iterator[Callable[..., ArchiveRig]]:
    """Archives of primaries of the test's own."""
    started: list[Primary] = []

    def start(**options: Any) -> ArchiveRig:
        primary = kit.primary.start(tmp_path / f"own-{len(started)}", **options)
        started.append(primary)
        return ArchiveRig(prepared(primary), tmp_path)

    yield start
    for primary in started:
        primary.discard()


@pytest.fixture
def replica_of(tmp_path: Path, kit: Kit) -> Iterator[Callable[[ArchiveRig], Primary]]:
    """Starts replicas of a rig's primary, and waits until they have all of it."""
    started: list[Primary] = []

    def start(rig: ArchiveRig) -> Primary:
        replica = kit.start_replica(tmp_path / f"replica-{len(started)}", rig.primary)
        started.append(replica)
        goal = rig.primary_position()
        wait_until(lambda: ArchiveRig(replica, tmp_path).primary_position() == goal, "the replica")
        return replica

    yield start
    for replica in started:
        replica.discard()


@on_both
def test_runs_that_follow_each_other_archive_the_files_byte_for_byte(rig: ArchiveRig) -> None:
    primary = rig.primary
    assert rig.archive().transactions == 1
    with primary.connect() as conn, conn.cursor() as cursor:
        # Of another replication domain, and with a tag.
        other = {"mariadb": "SET gtid_domain_id = 7", "mysql": "SET gtid_next = 'AUTOMATIC:tagged'"}
        cursor.execute(_ROW)
        cursor.execute(other[primary.flavor])
        cursor.execute(_ROW)
    before = utc_now()
    report = rig.archive()
    assert report.transactions == 2
    assert report.current_at is not None
    assert report.current_at >= before
    primary.execute(_ROW, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS", _ROW)
    assert rig.archive().transactions == 2
    archive = rig.assert_complete()
    assert len(archive.streams) == 1
    assert [len(log.pieces) for log in archive.streams[0].logs] == [1, 1, 1]
    assert rig.archive().transactions == 0
    rig.assert_nothing_left()


@on_both
def test_a_follower_stores_each_interval_and_says_until_when_the_archive_is_complete(rig: ArchiveRig) -> None:
    with rig.following() as report, WriteLoad(rig.primary) as load:
        for _ in range(3):
            load.wait_for(50)
            rig.primary.execute("FLUSH BINARY LOGS")
        begun = utc_now()
        wait_until(lambda: report.current_at is not None and report.current_at > begun, "current")
        load.stop()
        goal = rig.primary_position()
        wait_until(lambda: report.position == goal, "caught up")
    archive = rig.assert_complete()
    assert len(archive.streams) == 1
    assert len(archive.streams[0].logs) == 4
    rig.assert_nothing_left()


@on_both
def test_a1_killed_at_any_moment_it_continues_exactly(rig: ArchiveRig) -> None:
    dice = random.Random(17)
    with WriteLoad(rig.primary) as load:
        for _ in range(4):
            process = rig.start("--follow")
            time.sleep(0.8 + dice.random())
            load.wait_for(20)
            rig.primary.execute("FLUSH BINARY LOGS")
            time.sleep(dice.random() / 2)
            kill(process)
    status, answer, _ = rig.command()
    assert status == 0
    assert answer["gaps"] == []
    assert len(rig.assert_complete().streams) == 1
    rig.assert_nothing_left()


@on_both
def test_sigterm_ends_a_follower_cleanly(rig: ArchiveRig) -> None:
    process = rig.start("--follow", "--json")
    wait_until(lambda: bool(rig.position()), "a piece")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert '"gaps": []' in out
    rig.assert_complete()
    rig.assert_nothing_left()


@on_both
def test_a_transaction_larger_than_a_piece_is_cut_within(rig: ArchiveRig) -> None:
    rig.archive()
    with rig.primary.connect(autocommit=False) as conn, conn.cursor() as cursor:
        for _ in range(9):
            cursor.execute("INSERT INTO d.t (c) VALUES (REPEAT('x', 4000000))")
        cursor.execute("INSERT INTO d.t (c) VALUES (REPEAT('y', 12000000)), (REPEAT('z', 12000000))")
        conn.commit()
    rig.primary.execute(_ROW)
    assert rig.archive().transactions == 2
    archive = rig.assert_complete()
    pieces = archive.streams[0].logs[0].pieces
    within = [p for p in pieces if p.before == p.after and p.end - p.begin > 2**20]
    assert len(within) >= 2
    assert sum(p.transactions for p in within) == 1
    # As if it had been killed within that transaction: it begins that again, and stores what is missing.
    for piece in pieces[pieces.index(within[1]) :]:
        (rig.repository_dir / record_path(LogPiece, piece.piece_id)).unlink()
    assert rig.archive().transactions == 1
    rig.assert_complete()


def test_mariadb_encrypts_and_compresses_its_log(own: Callable[..., ArchiveRig], tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("1;" + "7f" * 32 + "\n")
    encrypting = [
        "--plugin-load-add=file_key_management",
        f"--file-key-management-filename={keys}",
        "--encrypt-binlog=ON",
    ]
    rig = own(options=[*encrypting, "--log-bin-compress=ON", "--log-bin-compress-min-len=10"])
    wordy = "INSERT INTO d.t (c) VALUES (REPEAT('many words ', 100))"
    assert b"words" not in (rig.primary.datadir / "binlog.000002").read_bytes()
    for _ in range(3):
        rig.primary.execute(wordy)
        assert rig.archive().transactions in (1, 2)
    rig.primary.execute(wordy, "FLUSH BINARY LOGS", wordy)
    assert rig.archive().transactions == 2
    archive = rig.assert_complete(own_files=False)
    assert len(archive.streams) == 1


@pytest.mark.parametrize("kit", ["mysql"], indirect=True)
def test_mysql_compresses_its_transactions(own: Callable[..., ArchiveRig]) -> None:
    rig = own(options=["--binlog-transaction-compression=ON"])
    wordy = "INSERT INTO d.t (c) VALUES (REPEAT('many words ', 100))"
    for _ in range(2):
        rig.primary.execute(wordy)
        rig.archive()
    rig.assert_complete()


@on_both
def test_over_tls_with_an_account_that_requires_x509(own: Callable[..., ArchiveRig], tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "own-ca")
    rig = own(options=authority.server_options)
    rig.tls = {
        "ssl_ca": str(authority.ca),
        "ssl_cert": str(authority.client_cert),
        "ssl_key": str(authority.client_key),
    }
    rig.primary.execute("ALTER USER restore_replay@'%' REQUIRE X509")
    rig.archive()
    rig.assert_complete()


@on_both
def test_a2_binary_logs_are_reset(own: Callable[..., ArchiveRig]) -> None:
    rig = own()
    rig.archive()
    rig.primary.execute(_ROW, _RESET[rig.primary.flavor], _ROW, _ROW)
    report = rig.archive()
    assert len(report.gaps) == 1
    archive = rig.assert_complete(gaps=1)
    assert len(archive.streams) == 2
    assert archive.noted_gaps[0].before == archive.streams[0].logs[-1].after
    assert rig.archive().gaps == []


@on_both
def test_a2_binary_logs_are_reset_while_they_are_received(own: Callable[..., ArchiveRig]) -> None:
    rig = own()
    with rig.following() as report:
        rig.wait_until_caught_up(report)
        rig.primary.execute(_RESET[rig.primary.flavor], _ROW)
        wait_until(lambda: bool(report.gaps) and report.position == rig.primary_position(), "the new history")
    rig.assert_complete(gaps=1)


@on_both
def test_a3_purged_before_it_was_archived(own: Callable[..., ArchiveRig]) -> None:
    rig = own()
    rig.archive()
    rig.primary.execute(_ROW, "FLUSH BINARY LOGS", _ROW, "FLUSH BINARY LOGS", _ROW)
    rig.primary.purge_logs()
    report = rig.archive()
    assert len(report.gaps) == 1
    archive = rig.assert_complete(gaps=1)
    assert len(archive.streams) == 2
    (gap,) = archive.noted_gaps
    assert gap.before == archive.streams[0].logs[-1].after
    assert gap.after == archive.streams[1].logs[0].before
    assert "purged" in gap.reason


@on_both
def test_a3_purged_when_all_of_it_was_archived(own: Callable[..., ArchiveRig]) -> None:
    rig = own()
    rig.archive()
    rig.primary.execute("FLUSH BINARY LOGS", "FLUSH BINARY LOGS", _ROW)
    rig.primary.purge_logs()
    assert rig.archive().gaps == []
    assert len(rig.assert_complete().streams) == 2


@on_both
def test_a4_failover_with_overlapping_transactions(
    own: Callable[..., ArchiveRig], replica_of: Callable[[ArchiveRig], Primary]
) -> None:
    rig = own()
    rig.archive()
    rig.primary.execute(_ROW)
    replica, former = replica_of(rig), rig.primary
    rig.primary = replica
    replica.promote()
    former.discard()
    replica.execute(_ROW)
    assert rig.archive().gaps == []
    archive = rig.assert_complete()
    assert len(archive.streams) == 2
    uids = [stream.logs[0].pieces[0].server_uid for stream in archive.streams]
    assert len(set(uids)) == 2


@on_both
def test_a5_failover_to_a_server_that_lacks_what_was_archived(
    own: Callable[..., ArchiveRig], replica_of: Callable[[ArchiveRig], Primary], tmp_path: Path
) -> None:
    rig = own()
    replica, former = replica_of(rig), rig.primary
    replica.promote()
    former.execute(_ROW, _ROW)
    rig.archive()
    former.discard()
    replica.execute(_ROW)
    lagging = ArchiveRig(replica, tmp_path)
    report = lagging.archive()
    assert len(report.gaps) == 1
    lagging.assert_complete(gaps=1)


@on_both
def test_a6_the_primary_crashes_with_a_torn_tail(own: Callable[..., ArchiveRig]) -> None:
    rig = own()
    rig.primary.execute(_ROW, _ROW)
    rig.archive()
    rig.primary.execute(_ROW)
    name = rig.primary.execute("SHOW BINARY LOGS")[-1][0]
    rig.primary.kill()
    path = rig.primary.datadir / name
    whole = path.read_bytes()
    with path.open("rb") as file:
        events = list(log_events(file))
    # It was writing another transaction, and came half through its first event.
    begin = next(e.event.offset for e in events if get_flavor(rig.primary.flavor).log.start_of(e.event))
    path.write_bytes(whole + whole[begin : begin + 30])
    rig.primary.restart()
    rig.primary.execute(_ROW)
    assert rig.archive().gaps == []
    archive = rig.assert_complete(own_files=rig.primary.flavor == "mysql")
    assert len(archive.streams) == 1
    assert [log.name for log in archive.streams[0].logs][-2:-1] == [name]


@on_both
def test_a7_the_primary_goes_back_to_an_older_state(own: Callable[..., ArchiveRig]) -> None:
    rig = own()
    primary = rig.primary
    rig.archive()
    primary.restart()
    primary.stop()
    shutil.copytree(primary.datadir, primary.root / "kept")
    primary.restart()
    primary.execute(_ROW, _ROW)
    rig.archive()
    primary.stop()
    shutil.rmtree(primary.datadir)
    shutil.move(primary.root / "kept", primary.datadir)
    primary.restart()
    primary.execute("INSERT INTO d.t (c) VALUES ('another')", _ROW, _ROW)
    report = rig.archive()
    assert len(report.gaps) == 1
    rig.assert_complete(gaps=1)


def test_a8_an_event_in_the_primarys_file_is_damaged(own: Callable[..., ArchiveRig]) -> None:
    rig = own()
    rig.archive()
    reached = rig.position()
    rig.primary.execute("INSERT INTO d.t (c) VALUES ('a row to be found in the file')", _ROW)
    path = rig.primary.datadir / rig.primary.execute("SHOW BINARY LOGS")[-1][0]
    data = bytearray(path.read_bytes())
    data[data.index(b"to be found")] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceCorrupt, match="checksum"):
        rig.archive()
    # Nothing of it is archived, and what is archived stays as it was.
    assert rig.position() == reached
    rig.assert_nothing_left()


@on_both
def test_a9_two_archivers(rig: ArchiveRig, tmp_path: Path) -> None:
    elsewhere = ArchiveRig(rig.primary, tmp_path, {"spool": str(tmp_path / "other")})
    with rig.following() as report:
        wait_until(lambda: bool(report.position), "a piece")
        with pytest.raises(LeaseHeld, match="of this host"):
            rig.archive()
        with pytest.raises(LeaseHeld, match="holds the lease"):
            elsewhere.archive()
        assert LEASE_TTL_S < 600
        with elsewhere.following() as waiting:
            wait_until(lambda: any("Waiting" in line for line in elsewhere.said), "the second one waits")
            assert waiting.pieces == 0
    assert len(rig.assert_complete().streams) == 1


@on_both
def test_a10_the_store_is_down(rig: ArchiveRig) -> None:
    with rig.following() as report:
        rig.wait_until_caught_up(report)
        with rig.store_down():
            rig.primary.execute(_ROW)
            wait_until(lambda: any("waits in the spool" in line for line in rig.said), "the store is missed")
            rig.primary.execute(_ROW, "FLUSH BINARY LOGS", _ROW)
        rig.wait_until_caught_up(report)
        assert any("takes what arrives again" in line for line in rig.said)
    assert len(rig.assert_complete().streams) == 1
    rig.assert_nothing_left()


def test_a10_the_store_is_down_until_the_spool_is_full(rig: ArchiveRig) -> None:
    rig.section["spool_limit"] = "64MiB"
    with rig.following() as report:
        rig.wait_until_caught_up(report)
        with rig.store_down():
            for _ in range(24):
                rig.primary.execute("INSERT INTO d.t (c) VALUES (REPEAT('x', 4000000))")
            wait_until(lambda: any("spool is full" in line for line in rig.said), "the spool is full")
            spooled = sum(path.stat().st_size for path in rig.spool.rglob("*") if path.is_file())
            assert spooled < 90 * 2**20
        rig.wait_until_caught_up(report)
    assert len(rig.assert_complete().streams) == 1


def test_a10_without_follow_it_fails_when_the_store_is_down(rig: ArchiveRig) -> None:
    archiver = rig.archiver()
    with rig.store_down(), pytest.raises(StoreFailed):
        archiver.run(follow=False)


def test_a11_the_disk_of_the_spool_is_full(rig: ArchiveRig, tmp_path: Path) -> None:
    rig.archive()
    for _ in range(10):
        rig.primary.execute("INSERT INTO d.t (c) VALUES (REPEAT('x', 4000000))")
    with small_disk(tmp_path / "disk", mebibytes=24) as disk:
        rig.section["spool"] = str(disk)
        report = rig.archive()
        assert report.position == rig.primary_position()
        long = "(REPEAT('x', 12000000))"
        rig.primary.execute(f"INSERT INTO d.t (c) VALUES {long}, {long}, {long}")
        with pytest.raises(NodeFull, match="spool"):
            rig.archive()
    del rig.section["spool"]
    rig.archive()
    assert len(rig.assert_complete().streams) == 1


@on_both
def test_a12_a_lost_piece_of_a_file_that_the_primary_has_is_archived_again(rig: ArchiveRig) -> None:
    for _ in range(4):
        rig.primary.execute(_ROW)
        rig.archive()
    lost = rig.read().streams[0].logs[0].pieces[1]
    (rig.repository_dir / record_path(LogPiece, lost.piece_id)).unlink()
    assert rig.read().streams[0].logs[0].lost_at == lost.begin
    rig.archive()
    log = rig.assert_complete().streams[0].logs[0]
    assert log.lost_at is None


@on_both
def test_the_primary_restarts_while_it_is_followed(own: Callable[..., ArchiveRig]) -> None:
    rig = own()
    with rig.following() as report:
        rig.wait_until_caught_up(report)
        rig.primary.restart()
        rig.primary.execute(_ROW)
        rig.primary.kill()
        time.sleep(1)
        rig.primary.restart()
        rig.primary.execute(_ROW)
        rig.wait_until_caught_up(report)
    assert len(rig.assert_complete().streams) == 1


def test_a_replica_is_read_and_the_primary_tells_what_is_missing(
    own: Callable[..., ArchiveRig], replica_of: Callable[[ArchiveRig], Primary]
) -> None:
    rig = own()
    replica = replica_of(rig)
    rig.section["port"] = replica.port
    assert rig.archive().current_at is not None
    replica.execute("STOP SLAVE")
    rig.primary.execute(_ROW)
    before = rig.read()
    rig.archive()
    assert [p.current_at for p in rig.read().pieces if p not in before.pieces] == []


def test_a_follower_ends_if_its_program_is_not_installed(rig: ArchiveRig) -> None:
    rig.bindir = "/nowhere"
    status, answer, _ = rig.command("--follow")
    assert status == 2
    assert "mariadb-binlog is not installed" in answer["error"]["message"]
    rig.assert_nothing_left()


def test_the_command_says_why_it_ends(rig: ArchiveRig) -> None:
    rig.port = 1
    status, answer, _ = rig.command()
    assert status == 1
    assert answer["error"]["code"] == "PrimaryUnreachable"


@on_both
def test_a14_the_primary_is_lost_for_good(own: Callable[..., ArchiveRig]) -> None:
    rig = own()
    rig.section["interval"] = "1h"
    with rig.following() as report:
        rig.wait_until_caught_up(report)
        rig.primary.execute(_ROW, "CREATE TABLE d.another (id INT PRIMARY KEY)", _ROW)
        goal = rig.primary_position()
        name = rig.primary.execute("SHOW BINARY LOGS")[-1][0]
        received = rig.spool / "logs" / name
        size_bytes = (rig.primary.datadir / name).stat().st_size
        # It was received from its beginning.
        wait_until(lambda: received.stat().st_size == size_bytes, "received")
        assert report.position != goal
        rig.primary.kill()
        shutil.rmtree(rig.primary.datadir)
        # All that it had sent is archived, though nobody can be asked where its log ended.
        wait_until(lambda: report.position == goal, "what it had sent")


def archived(rig: Rig) -> str:
    """Return the position after the last transaction that the cycles of *rig* have archived."""
    streams = Archive.read(rig.repository()).streams
    return streams[-1].logs[-1].after if streams else ""


def test_a13_a_cycle_offers_what_it_replays(seeded: Seeded) -> None:
    rig, primary = seeded.rig, seeded.primary
    primary.execute("INSERT INTO shop.notes VALUES ('archived')")
    report = rig.cycle(archive={"keep": "7d"})
    rig.published(report)
    assert "1 transactions" in report.steps["replay.catch_up"]["archive"]
    flavor = get_flavor("mariadb")
    with contextlib.closing(flavor.connect(primary.endpoint())) as conn:
        assert archived(rig) == str(flavor.primary_position(conn))
    assert rig.repository().log_lease.holder() is None


def test_a13_a_cycle_leaves_the_archive_to_an_archiver_that_is_at_work(seeded: Seeded) -> None:
    rig = seeded.rig
    lease = rig.repository().log_lease
    epoch = lease.acquire("archive/elsewhere", 60)
    report = rig.cycle(archive={"keep": "7d"})
    rig.published(report)
    assert "archive/elsewhere holds the lease" in report.steps["replay.catch_up"]["archive"]
    lease.release("archive/elsewhere", epoch)


def test_a13_a_cycle_does_not_fail_if_the_archive_does(seeded: Seeded) -> None:
    report = seeded.rig.cycle(archive={"keep": "7d", "host": "127.0.0.1", "port": 1})
    seeded.rig.published(report)
    assert report.steps["replay.catch_up"]["archive"].startswith("failed: Cannot connect")
