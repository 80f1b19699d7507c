"""Faults P1, P4, P6: refused before anything was done, with a message that says what to change."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.config.cluster import parse_clusters
from airflow_restore_replay.core.cycle.run import run_cycle
from airflow_restore_replay.core.errors import Blame, NodeIsPrimary, TargetNotEmpty
from airflow_restore_replay.core.jobs.context import JobContext, Reporter
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.preflight import preflight
from airflow_restore_replay.core.jobs.protocol import JobName, NodeRequest, RunRef, Secrets
from airflow_restore_replay.core.runtime.nodes import job_request
from tests.support.flavors import on_both
from tests.support.mariadb import BACKUP_PASSWORD, MariaDbPrimary
from tests.support.rig import Rig


def context(rig: Rig) -> JobContext:
    """A job's context on a node of the test's own."""
    cluster = rig.cluster()
    run = RunRef(run="test", attempt="replay", lease_epoch=1)
    node = NodeDir.create(rig.workdir, NodeRequest(node_id="orders-1", run=run, cluster=cluster))
    secrets = Secrets(primary_password=BACKUP_PASSWORD)
    request = job_request(cluster, run, JobName.CATCH_UP, key="k", secrets=secrets)
    return JobContext(node, request, Reporter(lambda progress: None))


@on_both
def test_p1_the_node_is_the_primary_itself(rig: Rig) -> None:
    ctx = context(rig)
    with (
        ctx.flavor.connect(rig.primary.endpoint("restore_replay")) as same,
        pytest.raises(NodeIsPrimary, match="is the primary itself") as caught,
    ):
        preflight(ctx, same, seeding=True)
    assert caught.value.blame is Blame.ENVIRONMENT
    assert str(rig.primary.datadir) in caught.value.message


@on_both
def test_p1_the_primary_lives_in_a_nodes_directory(
    new_primary: Callable[..., MariaDbPrimary], tmp_path: Path
) -> None:
    """A primary whose data directory is the node's is never a target, and its directory is never removed."""
    primary = new_primary("nodes/orders-1")
    rig = Rig(primary, tmp_path)
    with pytest.raises(TargetNotEmpty, match="is not a replay node"):
        context(rig)
    assert primary.execute("SELECT COUNT(*) FROM shop.orders") == [(20000,)]


def restore_replay(rig: Rig, *words: str, **overrides: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does."""
    config = rig.root / "clusters.yaml"
    secret = rig.root / "password"
    secret.write_text(BACKUP_PASSWORD)
    section = rig.section(**overrides)
    section["primary"] = {**section["primary"], "password_file": str(secret)}
    config.write_text(yaml.safe_dump({"clusters": {"orders": section}}))
    argv = [sys.executable, "-m", "airflow_restore_replay.cli.main", *words, "--config", str(config)]
    return subprocess.run([*argv, "--cluster", "orders"], capture_output=True, text=True, check=False)


def test_p4_restore_into_a_directory_with_content(rig: Rig, backup_id: str) -> None:
    target = rig.root / "target"
    target.mkdir()
    (target / "precious").write_text("mine")
    refused = restore_replay(rig, "restore", "--to", str(target))
    assert refused.returncode == 2
    assert str(target) in refused.stderr
    assert (target / "precious").read_text() == "mine"
    assert list(target.iterdir()) == [target / "precious"]
    done = restore_replay(rig, "restore", "--to", str(target), "--force")
    assert done.returncode == 0, done.stderr
    assert (target / "ibdata1").exists()


def test_p6_another_clusters_repository(rig: Rig, backup_id: str) -> None:
    section = rig.section()
    carts = parse_clusters({"clusters": {"carts": section}})["carts"]
    report = run_cycle(carts, secrets=Secrets(primary_password=BACKUP_PASSWORD), retries=0)
    assert report.failure is not None
    assert report.failure.code == "RepositoryMismatch"
    assert "orders" in report.failure.message
    assert [b.backup_id for b in rig.catalog().backups] == [backup_id]


def test_a_whole_cycle_by_command_line(rig: Rig, backup_id: str) -> None:
    cycle = restore_replay(rig, "cycle", "--json")
    assert cycle.returncode == 0, cycle.stderr
    report = json.loads(cycle.stdout)
    assert report["base_id"] == backup_id
    fresh = restore_replay(rig, "freshness", "--max-age", "1h")
    assert (fresh.returncode, "age=" in fresh.stdout) == (0, True)
    stale = restore_replay(rig, "freshness", "--max-age", "10ms")
    assert stale.returncode == 2
    listed = json.loads(restore_replay(rig, "list", "--json").stdout)
    assert report["published_id"] in json.dumps(listed)
    assert BACKUP_PASSWORD not in cycle.stdout + cycle.stderr


def test_release_lifts_a_quarantine(rig: Rig, backup_id: str) -> None:
    chunk = rig.chunk_of(backup_id, "shop/orders.ibd")
    sound = chunk.read_bytes()
    rig.flip_byte(chunk)
    assert rig.cycle().quarantined == [backup_id]
    chunk.write_bytes(sound)
    nameless = restore_replay(rig, "release", "--backup", backup_id)
    assert nameless.returncode == 2
    released = restore_replay(rig, "release", "--backup", backup_id, "--reason", "the disk was replaced")
    assert released.returncode == 0, released.stderr
    assert rig.against(backup_id) == []
    report = rig.cycle(base=backup_id)
    rig.published(report)
    assert report.base_id == backup_id
