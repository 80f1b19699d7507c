"""Context of a job: the node, its server, the primary, the repository, progress and cancellation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import pymysql

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decisions.attempts import FULL, PROVE
from airflow_restore_replay.core.errors import JobCancelled, NodeServerCrashed
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.endpoints import primary_endpoint
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.sql import LOST_NUMBERS
from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.node_state import NodeState
from airflow_restore_replay.core.jobs.protocol import JobRequest, Progress
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.older_state import OlderState
from airflow_restore_replay.core.system.cgroups import usable_cores

_GONE_WITHIN_S = 5.0
#: more appliers would only wait for each other's commits
_MOST_APPLIERS = 16


def default_appliers(cores: int) -> int:
    """Return the number of appliers for *cores*: one for each core but one, and at least one.

    The I/O thread and the coordinator need the remaining core: measured on two cores, more than one applier gained
    nothing with either flavor.
    """
    return max(1, min(cores - 1, _MOST_APPLIERS))


class Reporter:
    """Reporter that turns counts into progress with rate and ETA.

    :param publish: receives each new progress.
    :param interval_s: least time in seconds between two published counts.
    """

    def __init__(self, publish: Callable[[Progress], None], *, interval_s: float = 0.25) -> None:
        self._publish = publish
        self._interval_s = interval_s
        self._begin("")

    def _begin(self, phase: str) -> None:
        self._phase = phase
        self._started = time.monotonic()
        self._last = 0.0

    def phase(self, phase: str, detail: str = "") -> None:
        """Enter a phase, and publish it at once."""
        self._begin(phase)
        self._publish(Progress(phase=phase, detail=detail))

    def count(self, done: int, total: int = 0, *, unit: str = "bytes", detail: str = "") -> None:
        """Report an amount within the phase."""
        now = time.monotonic()
        if now - self._last < self._interval_s and done != total:
            return
        self._last = now
        rate = done / max(now - self._started, 1e-6)
        # Beyond an estimated total, the remaining amount is unknown.
        eta_s = (total - done) / rate if rate and done <= total else None
        self._publish(
            Progress(
                phase=self._phase,
                done=done,
                total=total,
                unit=unit,
                rate_per_s=rate,
                eta_s=eta_s,
                detail=detail,
            )
        )


@dataclass
class JobContext:
    """Everything that a job works with.

    :param request: as submitted, including secrets; kept only in this process's memory.
    :param cancelled: returns whether the job should stop; polled in every loop.
    :param older: an older state of the data, of which a restore takes what is still right.
    """

    node: NodeDir
    request: JobRequest
    report: Reporter
    cancelled: Callable[[], bool] = field(default=lambda: False)
    older: OlderState | None = None

    @property
    def cluster(self) -> Cluster:
        return self.request.cluster

    @cached_property
    def flavor(self) -> Flavor:
        return get_flavor(self.cluster.flavor)

    @cached_property
    def server(self) -> NodeServer:
        return self.flavor.server(self.node.layout(self.state, self.cluster))

    @cached_property
    def primary(self) -> Endpoint:
        return primary_endpoint(self.cluster.primary, self.request.secrets.primary_password)

    @cached_property
    def repository(self) -> Repository:
        secrets = self.request.secrets
        return Repository.of_cluster(self.cluster, credentials=secrets.store, keys=secrets.keys, write=True)

    @cached_property
    def previous(self) -> Manifest | None:
        """Return the manifest of the cluster's newest backup, in whatever state; backfills do not count."""
        usual = [m for m in self.repository.catalog().manifests if m.as_of is None]
        return usual[-1] if usual else None

    @property
    def state(self) -> NodeState:
        return self.node.load()

    @property
    def appliers(self) -> int:
        """Return how many appliers this node may replay with; one after a conflict."""
        if self.state.single_applier:
            return 1
        # usable_cores() sees the limit of a container only in control groups version 2, so node.cpus limits, too.
        cores = min(usable_cores(), max(1, int(self.cluster.node.cpus or usable_cores())))
        return self.cluster.catch_up.appliers or default_appliers(cores)

    @property
    def is_full(self) -> bool:
        return self.request.run.attempt == FULL

    @property
    def is_proof(self) -> bool:
        """Return whether this node proves the backup that the run has published, by restoring it."""
        return self.request.run.attempt == PROVE

    @property
    def as_of(self) -> datetime | None:
        """Return the past time for which the run rebuilds the backup; None for now."""
        return self.request.run.as_of

    @property
    def params(self) -> dict[str, Any]:
        return self.request.params

    def follow(self, variables: Mapping[str, str]) -> None:
        """Give the node's server the primary's settings from its next start, and record them for the manifest."""
        with self.node.changing() as state:
            state.facts.variables = dict(variables)
        self.server.follow(variables)

    def stop_if_cancelled(self) -> None:
        """Raise if the job was cancelled.

        :raises JobCancelled: a cancellation was requested.
        """
        if self.cancelled():
            raise JobCancelled(f"Job {self.request.job} of node {self.node.path.name} was cancelled.")

    @contextlib.contextmanager
    def crash_guard(self, doing: str) -> Iterator[None]:
        """Distinguish a lost connection to the node's server from a crash of the server.

        :raises NodeServerCrashed: the server's process has ended.
        """
        try:
            yield
        except pymysql.err.MySQLError as exc:
            # A killed process closes its sockets before it has ended.
            lost = bool(exc.args) and exc.args[0] in LOST_NUMBERS
            if not self.server.await_exit(_GONE_WITHIN_S if lost else 0):
                raise
            raise NodeServerCrashed(
                f"The server of node {self.node.path.name} died while {doing}.",
                hint="Its data is discarded; a node with throw-away durability is never restarted.",
            ) from exc
