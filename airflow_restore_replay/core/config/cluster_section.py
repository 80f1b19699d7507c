"""One cluster of the cluster file, and a group of clusters."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from airflow_restore_replay.core.config.archiving import Archiving
from airflow_restore_replay.core.config.checks import Validation
from airflow_restore_replay.core.config.schedule import refuse_invalid_schedule, refuse_jitter, staggered
from airflow_restore_replay.core.config.sections import (
    CatchUp,
    Drill,
    FullEvery,
    LeasePolicy,
    NodeSpec,
    Notify,
    Primary,
    RepositorySpec,
    Retention,
    Seed,
    Timeouts,
    Transfer,
)
from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.config.units import Seconds
from airflow_restore_replay.core.config.watching import Ping, Watch

CLUSTER_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
ClusterName = Annotated[str, Meta(pattern=CLUSTER_NAME)]

#: flavor → the values of seed.method that it supports
_SEEDS = {"mariadb": ("logical", "physical"), "mysql": ("logical", "clone")}


class Cluster(Strict, frozen=True, kw_only=True):
    """One protected primary with its repository, schedule and policy.

    :param fallback: what a run does after its base failed: ``full`` makes a fresh full in the same run; ``older_base``
        tries the next healthy base first, and a fresh full after that; ``none`` fails the run.
    :param jitter: spreads clusters of the same schedule: each starts later by a part of this that its name decides.
    :param prove: how far a run proves its own backup: ``read_back`` reads the stored bytes back; ``restored`` also
        restores the backup on a second node.
    """

    name: str = ""
    flavor: Literal["mariadb", "mysql"] = "mariadb"
    primary: Primary
    repository: RepositorySpec
    node: NodeSpec = NodeSpec()
    schedule: str | None = "0 3 * * *"
    timezone: str = "UTC"
    jitter: Seconds | None = None
    seed: Seed = Seed()
    full_every: FullEvery = FullEvery()
    fallback: Literal["full", "older_base", "none"] = "full"
    prove: Literal["read_back", "restored"] = "read_back"
    catch_up: CatchUp = CatchUp()
    transfer: Transfer = Transfer()
    validate: Validation = Validation()
    lease: LeasePolicy = LeasePolicy()
    retention: Retention = Retention()
    archive: Archiving = Archiving()
    drill: Drill = Drill()
    timeouts: Timeouts = Timeouts()
    notify: Notify = Notify()
    freshness: Watch = Watch()
    ping: Ping = Ping()
    max_age: Seconds = Seconds("26h")

    def __post_init__(self) -> None:
        allowed = _SEEDS[self.flavor]
        if self.seed.method not in allowed:
            raise ValueError(
                f"seed.method {self.seed.method} is not possible with flavor {self.flavor}; "
                f"allowed: {', '.join(allowed)}"
            )
        for schedule in filter(None, (self.schedule, self.drill.schedule, self.freshness.schedule)):
            refuse_invalid_schedule(schedule)
            if self.jitter is not None:
                refuse_jitter(schedule, self.jitter)

    def starts(self, schedule: str) -> str:
        """Return when *schedule* starts for this cluster: later by its part of the jitter, as a cron expression."""
        return staggered(schedule, self.name, self.jitter)


class Group(Strict, frozen=True, kw_only=True):
    """Clusters that hold one database together, such as its shards.

    :param clusters: their names.
    """

    name: str = ""
    clusters: Annotated[tuple[ClusterName, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if len(set(self.clusters)) < len(self.clusters):
            raise ValueError("a cluster is named twice")
