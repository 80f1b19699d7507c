"""``list``, ``show`` and ``release`` on a real repository."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from airflow_restore_replay.core.repository.format.records import Outcome, new_id
from airflow_restore_replay.core.repository.objects.record_store import write_record
from tests.unit.cli.conftest import Shop, in_terminal


def test_an_empty_catalog_says_so(shop: Shop) -> None:
    assert "orders has no readable backup" in shop.run("list").stdout
    assert shop.json("list") == {
        "cluster": "orders",
        "backups": [],
        "unreadable": {},
        "missing": {},
        "archive": None,
    }


def test_list_shows_state_proof_and_sizes_of_every_backup(shop: Shop) -> None:
    older = shop.publish(age=timedelta(hours=30))
    newer = shop.publish(age=timedelta(hours=2))
    shop.quarantine(older.backup_id)
    text = shop.run("list").stdout
    assert text.index(older.backup_id) < text.index(newer.backup_id)
    assert "quarantined" in text
    assert "logical seed" in text
    rows = shop.json("list")["backups"]
    assert [row["state"] for row in rows] == ["quarantined", "healthy"]
    assert rows[1]["proof"] == "read_back"
    assert 7100 < rows[1]["age_s"] < 7400
    assert rows[1]["total_bytes"] == 9_106_000


def test_a_pipe_gets_one_line_for_each_backup_with_whole_ids(shop: Shop) -> None:
    base = shop.publish(age=timedelta(hours=3)).backup_id
    as_of = datetime(2026, 11, 21, 3, 0, 12, tzinfo=UTC)
    rebuilt, newest = shop.publish(base=base, as_of=as_of), shop.publish(age=timedelta(seconds=90), base=base)
    header, *lines = shop.run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [rebuilt.backup_id, base, newest.backup_id]
    assert all(base in line for line in lines)
    assert lines[0].index("as of 2026-11-21 03:00:12Z") == header.index("DATA FROM")
    assert f"{newest.goal_read_at:%Y-%m-%d %H:%M:%S}Z" in lines[2]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_gets_whole_ids_and_as_many_columns_as_fit(shop: Shop, columns: int) -> None:
    base = shop.publish(age=timedelta(hours=30))
    shop.quarantine(base.backup_id)
    newest = shop.publish(base=base.backup_id)
    text = in_terminal(columns, "list", "--config", shop.config, "--cluster", "orders")
    header, *lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(len, (header, *lines))) <= columns
    assert [line.split()[0] for line in lines[:2]] == [base.backup_id, newest.backup_id]
    assert f"{newest.goal_read_at:%Y-%m-%d %H:%M:%S}Z" in lines[1]
    assert ("STORED" in header) == (columns == 200)
    assert ("READ, STORED" in lines[-1]) == (columns == 80)


def test_an_empty_position_is_said(shop: Shop) -> None:
    """A MariaDB that has logged nothing yet has an empty one."""
    backup_id = shop.publish(position="").backup_id
    assert "empty: the primary had logged no transaction" in shop.run("show", backup_id).stdout
    assert shop.json("show", backup_id)["position"] == ""


def test_what_a_proof_took_is_shown(shop: Shop) -> None:
    unknown, known = (shop.publish(age=timedelta(hours=age)).backup_id for age in (30, 2))
    cost = {"seconds": 128.25, "bytes": 3 * 2**30, "fetched_bytes": 2**29}
    for backup_id, measured in ((unknown, {}), (known, {"cost": cost})):
        shop.repository.record(
            shop.repository.new_verdict(
                Outcome.RESTORED, "dag/run", attempt="prove", backup_id=backup_id, measured=measured
            )
        )
    text = shop.run("list").stdout
    assert "restored in 2m08s" in text
    rows = shop.json("list")["backups"]
    assert [(row["proof"], row["proof_cost"]) for row in rows] == [("restored", {}), ("restored", cost)]
    shown = shop.run("show", known).stdout
    assert "restored in 2m08s: 3.2 GB, 536.9 MB of them read from the store" in shown
    assert shop.json("show", known)["proof_cost"] == cost


def test_a_damaged_manifest_is_reported_not_hidden(shop: Shop) -> None:
    backup_id = shop.publish().backup_id
    path = shop.store / "manifests" / f"{backup_id}.json"
    path.write_bytes(path.read_bytes()[:-40])
    result = shop.run("list")
    assert f"manifests/{backup_id}.json" in result.stderr
    assert list(shop.json("list")["unreadable"]) == [f"manifests/{backup_id}.json"]


def test_show_has_the_manifest_and_its_verdicts(shop: Shop) -> None:
    backup_id = shop.publish().backup_id
    verdict = shop.quarantine(backup_id)
    text = shop.run("show", backup_id).stdout
    assert "0-1-42" in text
    assert verdict.verdict_id in text
    assert "is corrupt" in " ".join(text.split())
    document = shop.json("show", backup_id)
    assert document["manifest"]["position"] == "0-1-42"
    assert document["standing_against"] == [verdict.verdict_id]


def test_show_says_why_a_backup_has_the_size_it_has(shop: Shop) -> None:
    manifest = shop.publish()
    sizes = msgspec.structs.replace(
        manifest.sizes,
        delta_bytes=8 * 2**20,
        delta_chunks=2,
        delta_page_bytes=3 * 2**14,
        skipped_files=7,
        skipped_bytes=5 * 2**20,
    )
    write_record(shop.repository.store, msgspec.structs.replace(manifest, backup_id=new_id(), sizes=sizes))
    newest = shop.json("list")["backups"][-1]["backup_id"]
    text = " ".join(shop.run("show", newest).stdout.split())
    assert "5.2 MB in 7 files unchanged since the restore" in text
    assert "49.2 kB of pages, in 2 chunks" in text
    for word in ("Read ", "New ", "Deltas ", "Reused ", "Stored ", "in bundles (1)"):
        assert word in text


def test_an_unknown_backup_is_refused_with_the_next_step(shop: Shop) -> None:
    result = shop.run("show", "20260101T000000Z-deadbeef", exit_code=2)
    assert "has no readable backup 20260101T000000Z-deadbeef" in result.stderr
    assert "restore-replay list" in result.stderr
    assert "Traceback" not in result.output
    error = shop.json("show", "20260101T000000Z-deadbeef", exit_code=2)["error"]
    assert error["code"] == "NoSuchBackup"


def test_release_withdraws_by_a_new_verdict_and_changes_nothing(shop: Shop) -> None:
    backup_id = shop.publish().backup_id
    verdict = shop.quarantine(backup_id)
    stored = {p: p.read_bytes() for p in (shop.store / "verdicts").iterdir()}
    answer = shop.json("release", "--backup", backup_id, "--reason", "the store's disk was replaced")
    assert answer["state"] == "healthy"
    assert answer["verdict"]["withdraws"] == [verdict.verdict_id]
    assert answer["verdict"]["reason"] == "the store's disk was replaced"
    assert "@" in answer["verdict"]["by"]
    assert {p: p.read_bytes() for p in stored} == stored
    assert "(withdrawn)" in shop.run("show", backup_id).stdout


def test_release_of_a_healthy_backup_is_refused(shop: Shop) -> None:
    backup_id = shop.publish().backup_id
    result = shop.run("release", "--backup", backup_id, "--reason", "why not", exit_code=2)
    assert "is neither quarantined nor stranded" in result.stderr
    assert not list((shop.store / "verdicts").glob("*"))


def test_release_needs_a_reason(shop: Shop) -> None:
    backup_id = shop.publish().backup_id
    shop.quarantine(backup_id)
    shop.run("release", "--backup", backup_id, "--reason", "  ", exit_code=2)
    assert shop.json("show", backup_id)["state"] == "quarantined"


def test_selftest_tells_what_found_each_fault_and_writes_nothing(shop: Shop) -> None:
    shop.publish()
    before = sorted(p for p in shop.store.rglob("*"))
    told = shop.run("selftest", "--metadata-only").stdout
    assert "none: the control" in told
    assert "manifest edited" in told
    assert "NOTHING" not in told
    assert shop.json("selftest", "--metadata-only")["ok"] is True
    assert sorted(p for p in shop.store.rglob("*")) == before


def test_x41_list_and_verify_name_deleted_records(shop: Shop) -> None:
    """A verdict that is gone may be a quarantine."""
    one = shop.publish().backup_id
    verdict = shop.quarantine(one).verdict_id
    two = shop.publish().backup_id
    shop.run("verify")
    (shop.store / "verdicts" / f"{verdict}.json").unlink()
    (shop.store / "manifests" / f"{two}.json").unlink()
    names = {f"verdicts/{verdict}.json", f"manifests/{two}.json"}
    assert set(shop.json("verify", exit_code=4)["missing"]) == names
    text = shop.run("verify", exit_code=4).stdout
    assert all(f"Missing: {name}: " in text for name in names)
    assert set(shop.json("list")["missing"]) == names
    result = shop.run("list")
    assert all(f"Missing: {name}: " in result.stderr for name in names)
