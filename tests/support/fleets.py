"""Clusters with repositories in directories, whose records are written without a database server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import NodeFull
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.format.records import (
    LogGap,
    Manifest,
    Outcome,
    Sizes,
    Verdict,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.objects.record_store import write_record
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.archives import STREAM, piece_of
from tests.support.backups import manifest_for

SIZES = Sizes(
    total_bytes=9_000_000_000,
    new_bytes=300_000_000,
    reused_bytes=8_500_000_000,
    zero_bytes=200_000_000,
    stored_bytes=120_000_000,
    files=400,
    new_chunks=80,
)


@dataclass
class Member:
    """One cluster with its repository."""

    cluster: Cluster
    repository: Repository
    now: datetime = field(default_factory=utc_now)

    def backup(self, age: timedelta, **fields: Any) -> Manifest:
        """Record a backup whose position was read *age* ago; it has no files."""
        at = self.now - age
        values: dict[str, Any] = {
            "run": f"cli/{new_id(at)}",
            "epoch": 1,
            "backup_id": new_id(at),
            "created_at": at + timedelta(minutes=10),
            "goal_read_at": at,
            "sizes": SIZES,
        }
        manifest = manifest_for(self.repository, **(values | fields))
        write_record(self.repository.store, manifest, self.repository.sealer)
        return manifest

    def verdict(self, age: timedelta, outcome: Outcome, **fields: Any) -> Verdict:
        """Record a verdict of *age* ago."""
        at = self.now - age
        values: dict[str, Any] = {
            "verdict_id": new_id(at),
            "at": at,
            "cluster": self.cluster.name,
            "run": "dag/run",
            "attempt": "replay",
            "step": "snapshot",
        }
        verdict = Verdict(outcome=outcome, **(values | fields))
        self.repository.record(verdict)
        return verdict

    def failed(self, age: timedelta, message: str = "No space left for the node.", **fields: Any) -> Verdict:
        """Record a failure of *age* ago that blames the environment."""
        return self.verdict(age, Outcome.FAILED, failure=Failure.of(NodeFull(message)), **fields)

    def cycle(self, age: timedelta, *, transactions: int = 5000, **fields: Any) -> Manifest:
        """Record what a cycle from the newest backup leaves, *age* ago."""
        bases = self.repository.catalog().backups
        made = self.backup(age, **fields)
        run = made.run
        fill: dict[str, Any] = {
            "seconds": 60.0,
            "start_seconds": 2.0,
            "bytes": SIZES.restored_bytes,
            "fetched_bytes": 10,
        }
        catch_up = {"seconds": 30.0, "transactions": transactions, "transactions_per_s": transactions / 30}
        measured: dict[str, Any] = {"fill": fill, "catch_up": catch_up}
        if bases:
            base_id = bases[-1].backup_id
            fill["backup_id"] = base_id
            proof = measured | {"validate": {"seconds": 12.5}}
            self.verdict(age, Outcome.RESTORED, run=run, step="validate", backup_id=base_id, measured=proof)
        published = measured | {"snapshot": {"seconds": 20.0}}
        late = age - timedelta(seconds=1)
        self.verdict(
            late, Outcome.PUBLISHED, run=run, published_id=made.backup_id, measured=published, backup_id=""
        )
        return made

    def archived(self, age: timedelta, **fields: Any) -> None:
        """Record a piece of the archive: *age* ago, the primary had logged nothing that is not archived."""
        at = self.now - age
        values: dict[str, Any] = {"at": at, "before": "0-1-90", "after": "0-1-200", "current_at": at}
        self.repository.record(piece_of(self.cluster.name, "mariadb", 0, 1000, **(values | fields)))

    def gap(self, age: timedelta) -> LogGap:
        """Record that transactions are missing, which no later file leads across."""
        at = self.now - age
        gap = LogGap(
            gap_id=new_id(at),
            at=at,
            cluster=self.cluster.name,
            run="archive/tests",
            lease_epoch=1,
            stream=STREAM,
            number=2,
            before="0-1-200",
            after="0-1-300",
            lacking="0-1-201 to 0-1-300",
            reason="the primary has purged them",
        )
        self.repository.record(gap)
        return gap


def make_fleet(root: Path, names: Sequence[str], **config: Any) -> dict[str, Member]:
    """Return clusters with empty repositories below *root*, and write their file, ``clusters.yaml``."""
    raw = {
        "clusters": {
            name: {"primary": {}, "repository": {"url": f"file://{root}/{name}"}} | config for name in names
        }
    }
    (root / "clusters.yaml").write_bytes(msgspec.yaml.encode(raw))
    return {
        name: Member(
            cluster, Repository.open(RepositorySpec(url=cluster.repository.url), cluster=name, write=True)
        )
        for name, cluster in parse_clusters(raw).items()
    }
