"""What ``list``, ``show``, ``verify``, ``prune`` and ``key check`` say of the archive."""

from __future__ import annotations

import shutil
from datetime import timedelta

from airflow_restore_replay.core.repository.format.records import LogGap, new_id, utc_now
from tests.unit.cli.conftest import Shop


def gap(shop: Shop) -> LogGap:
    at = utc_now()
    found = LogGap(
        gap_id=new_id(at),
        at=at,
        cluster="orders",
        run="archive/tests",
        lease_epoch=1,
        stream=new_id(at),
        number=1,
        before="0-1-50",
        after="0-1-60",
        lacking="domain 0: 10 transactions up to 0-1-60",
        reason="the primary purged binlog.000002",
    )
    shop.repository.record(found)
    return found


def test_without_an_archive_nothing_is_said_of_it(shop: Shop) -> None:
    backup_id = shop.publish().backup_id
    assert "Archive" not in shop.run("list").stdout
    assert "Archive" not in shop.run("show", backup_id).stdout
    assert "Archive" not in shop.run("verify").stdout
    assert "Archive" not in shop.run("prune").stdout
    assert shop.json("list")["archive"] is None
    assert shop.json("show", backup_id)["archive"] is None
    assert "archive" not in shop.json("verify")


def test_list_tells_window_gaps_and_bytes_a_day(shop: Shop) -> None:
    backup = shop.publish(age=timedelta(hours=2))
    shop.archive(current=timedelta(minutes=1))
    noted = gap(shop)
    text = shop.run("list").stdout
    assert f"Window: every moment from {backup.goal_read_at:%Y-%m-%dT%H:%M:%SZ} to " in text
    assert "(1h59m)." in text
    assert f"Archived up to {utc_now() - timedelta(minutes=1):%Y-%m-%dT}" in text
    assert f": {noted.lacking}: {noted.reason}" in text
    assert "Archive: 10 B of binary logs in 1 files (1 streams, 1 records); 10 B a day." in text
    found = shop.json("list")["archive"]
    assert [span["backups"] for span in found["spans"]] == [[backup.backup_id]]
    assert 60 <= found["rpo_s"] < 120
    assert [g["gap_id"] for g in found["gaps"]] == [noted.gap_id]
    assert list(found["days"].values()) == [10]
    assert found["bytes_a_day"] == 10


def test_a_backup_that_the_archive_does_not_continue_is_a_hole(shop: Shop) -> None:
    newer = shop.publish(age=timedelta(hours=1))
    assert newer.position == "0-1-42"
    shop.archive(current=timedelta(minutes=90), after="0-1-41")
    text = shop.run("list").stdout
    assert "Window: every moment from" in text
    assert "does not continue it" in shop.run("show", newer.backup_id).stdout
    shop.archive(current=timedelta(minutes=1), after="0-1-44")
    assert "leads from it to every moment from" in shop.run("show", newer.backup_id).stdout
    assert shop.json("show", newer.backup_id)["archive"]["end"] > newer.goal_read_at.isoformat()


def test_unreadable_records_are_named(shop: Shop) -> None:
    shop.publish()
    piece = shop.archive(current=timedelta(minutes=1))
    path = f"logpieces/{piece.piece_id}.json"
    (shop.store / path).write_text("{}")
    assert f"Unreadable: {path}: " in shop.run("list").stderr
    assert shop.json("list")["archive"]["unreadable"].keys() == {path}
    assert path in shop.json("prune", exit_code=2)["withheld"]
    assert f"Unreadable: {path}: " in shop.run("verify", exit_code=4).stdout


def test_verify_reads_the_archive(shop: Shop) -> None:
    backup_id = shop.publish().backup_id
    piece = shop.archive(current=timedelta(minutes=1))
    assert "Archive: 1 parts of 1 pieces, 10 B: all is well." in shop.run("verify").stdout
    path = shop.store / f"logdata/{piece.parts[0].object}.zst"
    path.unlink()
    assert "LogMissing: The archived binary log binlog.000001" in shop.run("verify", exit_code=4).stdout
    answer = shop.json("verify", exit_code=4)
    assert answer["ok"] is False
    assert answer["archive"]["bad"][0]["evidence"]["reachable"] == "0-1-40"
    # One backup is verified without it, and no backup is at fault.
    shop.run("verify", "--backup", backup_id)
    assert shop.json("list")["backups"][0]["state"] == "healthy"


def test_verify_examines_the_leases_of_the_archive(shop: Shop) -> None:
    shop.publish()
    lease = shop.repository.log_lease
    for run in ("archive/one", "archive/two"):
        epoch = lease.acquire(run, 600)
        lease.renew(run, epoch)
        shop.archive(current=timedelta(minutes=1), lease_epoch=epoch)
        lease.release(run, epoch)
    shop.run("verify")
    folder = shop.store / "logleases" / f"{epoch:012d}"
    for name in ("claim.json", "renewal-000001.json", "released.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-9])
        assert f"Unreadable: logleases/{epoch:012d}/{name}" in shop.run("verify", exit_code=4).stdout
        (folder / name).write_bytes(content)
    (folder / "renewal-000001.json").unlink()
    text = shop.run("verify", exit_code=4).stdout
    assert f"logleases/{epoch:012d}/renewal-000001.json" in text
    # Of a lease that is gone as a whole, pieces of its archiver tell.
    shutil.rmtree(folder)
    text = shop.run("verify", exit_code=4).stdout
    assert f"Missing: logleases/{epoch:012d}/claim.json: a record of that lease is there" in text


def test_prune_tells_what_it_keeps_of_the_archive(shop: Shop) -> None:
    shop.publish()
    shop.archive(current=timedelta(minutes=1))
    assert "Archive: 1 records are kept, 0 would be deleted." in shop.run("prune").stdout
    assert "Archive: 0 records deleted, 1 kept." in shop.run("prune", "--yes").stdout
    assert shop.json("prune")["logs"] == {"keep": 1, "delete": {}}
