"""Groups of clusters: all shards of a database as of one moment, with the primary dead."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.cycle.run import run_cycle
from airflow_restore_replay.core.errors import MomentRefused, TargetNotEmpty
from airflow_restore_replay.core.jobs.context import Reporter
from airflow_restore_replay.core.jobs.protocol import Progress, Secrets
from airflow_restore_replay.core.recovery.group import Member, drill_group, restore_group
from airflow_restore_replay.core.recovery.moment.unfinished import RestoredToMoment
from airflow_restore_replay.core.repository.format.records import Outcome
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.times import stamp
from tests.e2e.test_restore_to_moment import CLI, dump, held_by, next_second
from tests.support.archives import archive_logs
from tests.support.flavors import Kit
from tests.support.primary import BACKUP_PASSWORD
from tests.support.seeding import seeded_copy

SHARDS = ("shop1", "shop2")


@dataclass
class Shards:
    """Two clusters, whose archives end at different moments; the primary that both are of is gone.

    :param noon: a moment that both reach; *evening* is one that only the first reaches.
    """

    kit: Kit
    sections: dict[str, Any]
    noon: datetime
    evening: datetime
    dump: str

    @property
    def clusters(self) -> dict[str, Cluster]:
        return parse_clusters({"clusters": self.sections})

    def members(self, *names: str) -> list[Member]:
        clusters = self.clusters
        return [Member(clusters[n], repository_of(clusters[n])) for n in names or SHARDS]

    def restore(self, target: Path, at: str, **options: Any) -> dict[str, RestoredToMoment]:
        options = {"report": lambda name: Reporter(lambda progress: None)} | options
        return restore_group("shop", self.members(), at, target, **options)


def repository_of(cluster: Cluster) -> Repository:
    return Repository.of_cluster(cluster, write=True)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, kit: Kit) -> Shards:
    rig = seeded_copy(kit, tmp_path_factory.mktemp("shards"), {})
    sections = {
        name: rig.section(
            repository={"url": f"file://{rig.root / name}"}, node={"workdir": str(rig.root / f"nodes-{name}")}
        )
        for name in SHARDS
    }
    primary = rig.primary
    try:
        clusters = parse_clusters({"clusters": sections})
        for cluster in clusters.values():
            assert run_cycle(cluster, secrets=Secrets(primary_password=BACKUP_PASSWORD)).failure is None
        primary.execute("INSERT INTO shop.notes VALUES ('before noon')")
        held, noon = dump(primary), next_second(primary)
        primary.execute("INSERT INTO shop.notes VALUES ('after noon')")
        next_second(primary)
        archive_logs(repository_of(clusters["shop2"]), primary)
        next_second(primary)
        primary.execute("INSERT INTO shop.notes VALUES ('in the evening')")
        evening = next_second(primary)
        primary.execute("INSERT INTO shop.notes VALUES ('at night')")
        next_second(primary)
        archive_logs(repository_of(clusters["shop1"]), primary)
    finally:
        primary.discard()
    shutil.rmtree(primary.root)
    return Shards(kit, sections, noon, evening, held)


def assert_held(shards: Shards, target: Path, where: Path) -> None:
    """Compare what each restored shard holds; a server has its data in a directory of that name."""
    for name in SHARDS:
        data = where / name / "data"
        data.parent.mkdir(parents=True)
        (target / name).rename(data)
        assert held_by(shards.kit, data) == shards.dump


def test_every_shard_is_restored_as_of_the_same_moment(shards: Shards, tmp_path: Path) -> None:
    config, target = tmp_path / "clusters.yaml", tmp_path / "copy"
    groups = {"shop": {"clusters": list(SHARDS)}}
    config.write_text(yaml.safe_dump({"clusters": shards.sections, "groups": groups}))
    command = [*CLI, "restore", "--config", str(config), "--group", "shop", "--to", str(target), "--json"]
    done = subprocess.run(
        [*command, "--at", shards.noon.isoformat()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {name: found["at"] for name, found in answer["clusters"].items()} == dict.fromkeys(
        SHARDS, shards.noon.isoformat()
    )
    assert sorted(path.name for path in target.iterdir()) == list(SHARDS)
    assert_held(shards, target, tmp_path / "held")


def test_a_moment_that_one_shard_does_not_reach_is_refused_before_a_byte_is_written(
    shards: Shards, tmp_path: Path
) -> None:
    target = tmp_path / "copy"
    with pytest.raises(
        MomentRefused, match=r"nothing was written\. shop2: .*Reachable by all: the last"
    ) as refused:
        shards.restore(target, shards.evening.isoformat())
    assert refused.value.evidence["clusters"] == ["shop2"]
    nearest = datetime.fromisoformat(refused.value.evidence["nearest_before"])
    assert shards.noon < nearest < shards.evening
    assert not target.exists()
    assert stamp(nearest) == stamp(min(w for m in shards.members() if (w := m.window().end)))


def test_an_interrupted_restore_of_a_group_resumes_to_the_moment_it_began_with(
    shards: Shards, tmp_path: Path
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(progress: Progress) -> None:
        if progress.phase == "replaying":
            raise Interrupted

    def report(name: str) -> Reporter:
        return Reporter(interrupt if name == "shop2" else lambda progress: None)

    target = tmp_path / "copy"
    ago = (datetime.now(shards.noon.tzinfo) - shards.noon) / timedelta(seconds=1)
    text = f"{ago:.0f} seconds ago"
    with pytest.raises(Interrupted):
        shards.restore(target, text, report=report)
    first = (target / "shop1").stat()
    with pytest.raises(TargetNotEmpty, match="holds an interrupted restore of the group shop"):
        shards.restore(target, "1 second ago")
    restored = shards.restore(target, text)
    assert (target / "shop1").stat().st_mtime_ns == first.st_mtime_ns
    assert restored["shop2"].resumed
    assert restored["shop1"].at == restored["shop2"].at
    assert sorted(path.name for path in target.iterdir()) == list(SHARDS)


def test_a_drill_of_a_group_is_to_one_moment_and_each_shard_is_drilled(shards: Shards) -> None:
    measured = drill_group(
        "shop",
        shards.members(),
        moment="latest",
        report=lambda name: Reporter(lambda progress: None),
        say=lambda line: print(line, file=sys.stderr),
    )
    assert list(measured) == list(SHARDS)
    assert len({found["at"] for found in measured.values()}) == 1
    for member in shards.members():
        last = member.repository.catalog().verdicts[-1]
        assert (last.outcome, last.step) == (Outcome.RESTORED, "drill")
