"""Evaluate many clusters at once: one whose store is dead costs its time limit, and no other waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import ConfigInvalid, StoreFailed
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.fleet.evaluate import evaluate, misconfigured, unknown
from airflow_restore_replay.core.fleet.recent import open_remembering
from airflow_restore_replay.core.fleet.state import ClusterState
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.system.parallel import Overdue, run_within

#: clusters that are evaluated at the same time; most of the time is spent waiting for stores
_THREADS = 16
DEFAULT_LIMIT_S = 20.0

Opener = Callable[[Cluster], Repository]


class Fleet:
    """Clusters and what was read of them, so that the next evaluation reads only what is new.

    :ivar mistaken: clusters that a mistake in the cluster file keeps from being evaluated.
    :param limit_s: time limit of each cluster.
    :param everything: read all records, not only the newest.
    :param opener: opens a cluster's repository; by default with the credentials of the environment.
    """

    def __init__(
        self,
        clusters: Iterable[Cluster],
        *,
        mistaken: Mapping[str, ConfigInvalid] | None = None,
        limit_s: float = DEFAULT_LIMIT_S,
        everything: bool = False,
        opener: Opener = open_remembering,
    ) -> None:
        self._clusters = tuple(clusters)
        self.mistaken = dict(mistaken or {})
        self._limit_s = limit_s
        self._everything = everything
        self._opener = opener
        self._opened: dict[str, Repository] = {}
        self._busy: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def hanging(self) -> bool:
        """Return whether a thread still waits for a store. It would keep the process from ending."""
        return bool(self._busy)

    def states(self) -> list[ClusterState]:
        """Evaluate all clusters, and return their states, the worst first. Nothing is raised for a cluster's sake."""
        return sorted(self.each(), key=lambda state: state.order)

    def each(self) -> Iterator[ClusterState]:
        """Evaluate all clusters, and yield each state when it is known."""
        for name, exc in self.mistaken.items():
            yield misconfigured(name, Failure.of(exc))
        for cluster, state in run_within(
            self._clusters, self._state, threads=_THREADS, limit_s=self._limit_s
        ):
            yield _late(cluster, self._limit_s) if isinstance(state, Overdue) else state

    def _state(self, cluster: Cluster) -> ClusterState:
        started = time.monotonic()
        with self._lock:
            if cluster.name in self._busy:  # an earlier evaluation was left behind
                return _late(cluster, started - self._busy[cluster.name])
            self._busy[cluster.name] = started
        try:
            repository = self._opened.get(cluster.name) or self._opener(cluster)
            self._opened[cluster.name] = repository
            return evaluate(repository, cluster, everything=self._everything)
        except Exception as exc:
            # Whatever hides the state of a cluster is the state of that cluster. Credentials and keys are read again.
            self._opened.pop(cluster.name, None)
            return unknown(cluster, Failure.of(exc), time.monotonic() - started)
        finally:
            with self._lock:
                del self._busy[cluster.name]


def _late(cluster: Cluster, seconds: float) -> ClusterState:
    url = cluster.repository.url or f"of connection {cluster.repository.connection}"
    late = StoreFailed(f"The repository {url} did not answer within {seconds:.0f} s.")
    return unknown(cluster, Failure.of(late), seconds)
