"""``freshness`` as a Nagios plugin."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta

import pytest

from airflow_restore_replay.core.repository.format.records import Outcome
from tests.unit.cli.conftest import Shop


def test_a_young_backup_is_ok_with_perfdata(shop: Shop) -> None:
    backup_id = shop.publish(age=timedelta(hours=3)).backup_id
    line = shop.run("freshness", "--max-age", "26h").stdout
    assert re.fullmatch(
        rf"RESTORE-REPLAY OK - orders: backup {backup_id} \(read_back\) is 3h00m old, limit 1d02h"
        r" \| age=108\d\ds;;93600;0 healthy=1;;;0\n",
        line,
    )


def test_the_limit_defaults_to_the_clusters(shop: Shop) -> None:
    shop.publish(age=timedelta(hours=27))
    assert shop.run("freshness", exit_code=2).stdout.startswith("RESTORE-REPLAY CRITICAL")
    shop.run("freshness", "--max-age", "2d")


def test_quarantined_backups_do_not_count(shop: Shop) -> None:
    shop.publish(age=timedelta(hours=30))
    newer = shop.publish(age=timedelta(hours=1))
    shop.run("freshness")
    shop.quarantine(newer.backup_id)
    assert "is 1d06h old" in shop.run("freshness", exit_code=2).stdout


def test_no_backup_at_all_is_stale(shop: Shop) -> None:
    line = shop.run("freshness", exit_code=2).stdout
    assert "CRITICAL - orders: no healthy backup" in line
    assert "age=U;;93600;0" in line
    answer = shop.json("freshness", exit_code=2)
    assert answer["age_s"] is None
    assert answer["status"] == "CRITICAL"


def test_a_repository_that_is_gone_is_stale(shop: Shop) -> None:
    shop.publish()
    shutil.rmtree(shop.store)
    line = shop.run("freshness", exit_code=2).stdout
    assert "the age of the newest backup is unknown" in line
    assert line.count("|") == 1


def test_a_stronger_proof_may_be_asked_for(shop: Shop) -> None:
    backup_id = shop.publish().backup_id
    shop.run("freshness", "--proof", "restored", exit_code=2)
    verdict = shop.repository.new_verdict(Outcome.RESTORED, "dag/next", attempt="replay", backup_id=backup_id)
    shop.repository.record(verdict)
    shop.run("freshness", "--proof", "restored")


@pytest.mark.parametrize("wrong", [["--max-age", "26x"], ["--proof", "hoped"], ["--cluster", "billing"]])
def test_a_wrongly_configured_check_is_unknown(shop: Shop, wrong: list[str]) -> None:
    shop.publish()
    shop.run("freshness", *wrong, exit_code=3)


def test_the_archive_may_be_asked_for_as_well(shop: Shop) -> None:
    shop.publish()
    unknown = shop.run("freshness", "--rpo", "1m", exit_code=2).stdout
    assert "it is unknown how far the archive is behind the primary | " in unknown
    assert unknown.endswith(" rpo=U;;60;0\n")
    shop.archive(current=timedelta(seconds=30))
    shop.archive(current=None)
    line = shop.run("freshness", "--rpo", "1m").stdout
    assert re.search(
        r"; the archive is 3\d\.\d s behind the primary, limit 1m00s \| .* rpo=3\ds;;60;0\n", line
    )
    assert shop.run("freshness", "--rpo", "10s", exit_code=2).stdout.startswith("RESTORE-REPLAY CRITICAL")
    answer = shop.json("freshness", "--rpo", "1m")
    assert 30 <= answer["rpo_s"] < 60
    assert answer["max_rpo_s"] == 60
    # The store got no record at a time that is yet to come.
    shop.archive(current=timedelta(hours=-2))
    assert "behind the primary, limit" in shop.run("freshness", "--rpo", "1m").stdout


def test_an_archive_does_not_make_an_old_backup_young(shop: Shop) -> None:
    shop.publish(age=timedelta(hours=30))
    shop.archive(current=timedelta(seconds=1))
    shop.run("freshness", "--rpo", "1h", exit_code=2)
