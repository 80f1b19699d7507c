"""Backfills of the shipped DAG: created by Airflow's own command, run by Airflow, on a real MariaDB."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from airflow_restore_replay.core.config.cluster import parse_clusters
from airflow_restore_replay.core.repository.format.records import BackupState
from airflow_restore_replay.dag import build_restore_replay_dag
from tests.airflow.support import Shipped, asset_events
from tests.airflow.test_cycle import ALWAYS, FULL, REPLAY
from tests.support.mariadb import Witness
from tests.support.tamper import running

#: an interval every two seconds: cron with a sixth field
EVERY_2_S = "* * * * * */2"


def even_second(*, after_s: float) -> datetime:
    """Return when one of the schedule's intervals ends, at least so far away."""
    soon = datetime.now(UTC) + timedelta(seconds=after_s)
    return soon.replace(microsecond=0) + timedelta(seconds=2 - soon.second % 2)


def test_each_interval_gets_the_backup_of_its_end(cycle: Shipped) -> None:
    (first,) = cycle.rig.catalog().backups
    cycle.configure(schedule=EVERY_2_S)
    witness = Witness(cycle.rig.primary)
    begin = even_second(after_s=1)
    ends = [begin + timedelta(seconds=2), begin + timedelta(seconds=4)]
    witness.write_until(ends[-1] + timedelta(seconds=1))

    runs = cycle.backfill(begin, begin + timedelta(seconds=2))
    assert [ran.state for ran in runs] == ["success", "success"]
    made = []
    for ran, end in zip(runs, ends, strict=True):
        assert ran.run_id.startswith("backfill__")
        assert ran.of("success") == ALWAYS | REPLAY | {"published", "prune"}
        made.append(cycle.rig.catalog().backup(ran.results["published"]["backup_id"]))
        assert made[-1].manifest.as_of == made[-1].manifest.goal_read_at == end
        ((_, event),) = asset_events(ran.run_id)
        assert event["as_of"] == end.isoformat()
        with running(cycle.rig.restores(made[-1].backup_id)) as conn, conn.cursor() as cursor:
            cursor.execute(f"SELECT MAX(id) FROM {witness.table}")
            assert cursor.fetchall() == ((witness.before(end),),)
    assert [b.manifest.base.backup_id for b in made] == [first.backup_id, made[0].backup_id]

    (again,) = cycle.backfill(begin, begin, "--reprocess-behavior", "completed")
    assert again.run_id == runs[0].run_id
    assert again.state == "success"
    assert again.of("skipped") >= REPLAY | FULL
    assert again.results["published"]["backup_id"] == made[0].backup_id
    assert len(cycle.rig.catalog().manifests) == 3

    usual = cycle.run()
    assert usual.results["choose_base"]["backup_id"] == made[1].backup_id
    assert "as_of" not in usual.results["published"]
    cycle.rig.assert_nothing_left()


def test_a_run_with_as_of_rebuilds_the_backup_of_that_time(cycle: Shipped) -> None:
    (first,) = cycle.rig.catalog().backups
    cycle.configure()
    witness = Witness(cycle.rig.primary)
    at = even_second(after_s=1)
    witness.write_until(at + timedelta(seconds=1))
    ran = cycle.run(as_of=at.isoformat())
    assert ran.state == "success"
    made = cycle.rig.catalog().backup(ran.results["published"]["backup_id"]).manifest
    assert (made.as_of, made.base.backup_id) == (at, first.backup_id)


def test_before_the_first_backup_a_backfill_fails(cycle: Shipped) -> None:
    (first,) = cycle.rig.catalog().backups
    cycle.configure(schedule="0 * * * *")
    hour = first.manifest.goal_read_at.replace(minute=0, second=0, microsecond=0)
    (ran,) = cycle.backfill(hour - timedelta(hours=2), hour - timedelta(hours=2))
    assert ran.state == "failed"
    assert ran.of("failed") == {"choose_base", "diagnose"}
    assert ran.tries["choose_base"] == 1
    assert f"the oldest healthy backup, {first.backup_id}, is from" in ran.errors["choose_base"]
    assert len(cycle.rig.catalog().manifests) == 1
    cycle.rig.assert_nothing_left()


def test_damaged_base_is_quarantined_and_nothing_takes_its_place(cycle: Shipped) -> None:
    (first,) = cycle.rig.catalog().backups
    cycle.configure(schedule=EVERY_2_S)
    cycle.rig.flip_byte(cycle.rig.chunk_of(first.backup_id, "shop/orders.ibd"))
    begin = even_second(after_s=0)
    Witness(cycle.rig.primary).write_until(begin + timedelta(seconds=3))
    (ran,) = cycle.backfill(begin, begin)
    assert ran.state == "failed"
    assert ran.of("failed") == {"replay.restore_backup", "diagnose"}
    assert "ChunkCorrupt" in ran.errors["diagnose"]
    assert ran.states["full.create_node"] == ran.states["published"] == "upstream_failed"
    (backup,) = cycle.rig.catalog().backups
    assert backup.state is BackupState.QUARANTINED
    cycle.rig.assert_nothing_left()


def intervals_of(dag: Any, begin: datetime) -> list[Any]:
    """Return the intervals that a backfill of two days has, as the scheduler computes them."""
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import DagSerialization

    stored: SerializedDAG = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    infos = stored.iter_dagrun_infos_between(begin, begin + timedelta(days=2))
    return [info.data_interval for info in infos if info.data_interval]


def test_intervals_of_a_schedule_with_jitter_end_when_the_cluster_starts(cluster_file: Path) -> None:
    """A backfill rebuilds the backup as of the moment at which the cluster starts on that day."""
    section = yaml.safe_load(cluster_file.read_text())["clusters"]["orders"]
    section |= {"schedule": "50 23 * * *", "jitter": "1h"}
    cluster = parse_clusters({"clusters": {"orders": section}})["orders"]
    begin = datetime(2026, 8, 20, tzinfo=UTC)
    found = intervals_of(build_restore_replay_dag(cluster), begin)
    minute, hour, *_ = cluster.starts("50 23 * * *").split()
    assert (int(hour) * 60 + int(minute) - (23 * 60 + 50)) % (24 * 60) in range(60)
    for one, following in itertools.pairwise(found):
        assert one.end == following.start
        assert (one.end.hour, one.end.minute) == (int(hour), int(minute))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-28", 23), ("2026-10-24", 25), ("2026-08-20", 24)])
def test_intervals_of_a_schedule_with_summer_time(cluster_file: Path, day: str, hours: int) -> None:
    """03:00 in Berlin, whatever that is in UTC: no gap, no overlap, one moment per interval."""
    section = yaml.safe_load(cluster_file.read_text())["clusters"]["orders"]
    section |= {"schedule": "0 3 * * *", "timezone": "Europe/Berlin"}
    dag = build_restore_replay_dag(parse_clusters({"clusters": {"orders": section}})["orders"])
    berlin = ZoneInfo("Europe/Berlin")
    begin = datetime.fromisoformat(f"{day}T03:00:00").replace(tzinfo=berlin)
    intervals = intervals_of(dag, begin)
    assert intervals[0].start == begin
    assert intervals[0].end - intervals[0].start == timedelta(hours=hours)
    for one, following in zip(intervals, intervals[1:], strict=False):
        assert one.end == following.start
        assert one.end.astimezone(berlin).hour == 3
