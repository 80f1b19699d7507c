"""``prune`` and ``verify`` as people and scripts use them."""

from __future__ import annotations

from datetime import timedelta

from airflow_restore_replay.core.repository.format.records import PruneRecord
from tests.support.backups import aged_copy
from tests.unit.cli.conftest import Shop


def _keep_last(shop: Shop, count: int) -> None:
    text = f"    retention: {{last: {count}, min_count: 1}}\n"
    shop.config.write_text(shop.config.read_text() + text)


def test_prune_only_plans_unless_told(shop: Shop) -> None:
    new = shop.publish().backup_id
    old = aged_copy(shop.repository, new, days=30)
    _keep_last(shop, 1)
    text = shop.run("prune").stdout
    assert old in text
    assert "no rule keeps it" in text
    assert "last 1 of 1" in text
    assert "Nothing was deleted" in text
    plan = shop.json("prune", "--dry-run")
    assert [d["backup_id"] for d in plan["delete"]] == [old]
    assert plan["delete"][0]["total_bytes"] == 9_106_000
    assert plan["delete"][0]["frees_bytes"] == 0, "the newer one needs the same chunks"
    assert list(plan["keep"]) == [new]
    assert len(shop.json("list")["backups"]) == 2
    assert not list(shop.store.glob("prunes/*"))


def test_prune_deletes_with_yes(shop: Shop) -> None:
    new = shop.publish().backup_id
    old = aged_copy(shop.repository, new, days=30)
    _keep_last(shop, 1)
    report = shop.json("prune", "--yes")
    assert (report["deleted"], report["kept"], report["dry_run"]) == ([old], 1, False)
    assert [b["backup_id"] for b in shop.json("list")["backups"]] == [new]
    (record,), _ = shop.repository.records(PruneRecord)
    assert record.run.startswith("cli-prune/")
    assert shop.repository.lease.holder() is None
    assert "0 backups deleted" in shop.run("prune", "--yes").stdout
    shop.run("prune", "--yes", "--dry-run", exit_code=2)


def test_prune_beside_a_cycle_is_told_who_runs(shop: Shop) -> None:
    shop.publish()
    shop.repository.lease.acquire("dag/run-7", 600)
    assert "dag/run-7 holds the lease" in shop.run("prune", "--yes", exit_code=1).stderr


def test_prune_with_a_damaged_record_is_refused(shop: Shop) -> None:
    backup_id = shop.publish(age=timedelta(days=9)).backup_id
    (shop.store / "manifests" / f"{backup_id}.json").write_bytes(b"damaged")
    assert "not readable" in shop.run("prune", exit_code=2).stdout
    assert backup_id in shop.json("prune", "--yes", exit_code=2)["withheld"]


def test_verify_says_that_all_is_well(shop: Shop) -> None:
    shop.publish()
    assert "all is well" in shop.run("verify").stdout
    report = shop.json("verify", "--subset", "1/1", "--rate-limit", "1GB", "--threads", "1")
    assert (report["ok"], report["chunks"], report["bad"]) == (True, 2, [])
    shop.run("verify", "--subset", "9/2", exit_code=2)
    shop.run("verify", "--rate-limit", "fast", exit_code=2)


def test_verify_names_bad_chunks_and_all_their_backups(shop: Shop) -> None:
    one = shop.publish().backup_id
    two = aged_copy(shop.repository, one, days=1)
    (chunk,) = shop.store.glob("bundles/*/*")
    chunk.write_bytes(b"not zstd")
    result = shop.run("verify", exit_code=4)
    for word in (chunk.name.split(".")[0], one, two, "ChunkCorrupt", "--quarantine"):
        assert word in result.stdout
    report = shop.json("verify", "--quarantine", exit_code=4)
    assert report["bad"][0]["backups"] == sorted((one, two))
    assert report["quarantined"] == sorted((one, two))
    assert {b["state"] for b in shop.json("list")["backups"]} == {"quarantined"}
