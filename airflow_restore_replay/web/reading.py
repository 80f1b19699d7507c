"""Read repositories for the page: never within a request for longer than its time limit, and never twice at once.

What was read is kept, and shown with its age. It is read again in the background when somebody looks at it and it is
old, so that an API server whose page nobody looks at reads nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from typing import Generic, TypeVar

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import RestoreReplayError, StoreFailed
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.fleet.fleet import Fleet
from airflow_restore_replay.core.fleet.recent import RememberingStore
from airflow_restore_replay.core.fleet.state import ClusterState
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.hooks.clusters import configured_fleet
from airflow_restore_replay.hooks.repository import RepositoryHook

log = logging.getLogger(__name__)

T = TypeVar("T")

#: what is older is read again when somebody looks; a reading that takes long is repeated less often
FRESH_S = 10.0
_SHARE = 5.0
#: time limit of one cluster's store
_LIMIT_S = 20.0
#: records that are kept in memory: of all clusters together, and of each of those that are read in full
_FLEET_BYTES, _MOST_BYTES = 128 * 2**20, 16 * 2**20
_READ_IN_FULL = 8
#: backups and releases that are read for requests at the same time
_REQUESTS = 4


class Refreshed(Generic[T]):
    """A value that a thread computes again when somebody asks for it and it is old.

    :param compute: must not hang for ever; if it raises, the earlier value stays, and :attr:`problem` says why.
    """

    def __init__(self, compute: Callable[[], T], fresh_s: float = FRESH_S) -> None:
        self._compute = compute
        self._fresh_s = fresh_s
        self._changing = threading.Lock()
        self._computed = threading.Event()
        self._ended = float("-inf")
        self._took_s = 0.0
        self.value: T | None = None
        self.problem: Failure | None = None
        self.refreshing = False

    @property
    def age_s(self) -> float | None:
        """Return seconds since the value was computed; None if it never was."""
        return time.monotonic() - self._ended if self._computed.is_set() else None

    def look(self, wait_s: float = 0.0) -> T | None:
        """Return the value, and have it computed again if it is old.

        :param wait_s: how long to wait for the first one.
        """
        with self._changing:
            old = time.monotonic() - self._ended > max(self._fresh_s, _SHARE * self._took_s)
            if old and not self.refreshing:
                self.refreshing = True
                threading.Thread(target=self._refresh, name="restore-replay page", daemon=True).start()
        if not self._computed.is_set() and wait_s:
            self._computed.wait(wait_s)
        return self.value

    def spoil(self) -> None:
        """Let the next look compute the value again."""
        self._ended = float("-inf")

    def _refresh(self) -> None:
        started = time.monotonic()
        try:
            self.value = self._compute()
            self.problem = None
        except Exception as exc:
            if not isinstance(exc, RestoreReplayError):
                log.exception("The Backups page cannot read what it shows.")
            self.problem = Failure.of(exc)
        finally:
            with self._changing:
                self._ended = time.monotonic()
                self._took_s = self._ended - started
                self.refreshing = False
            self._computed.set()


class FleetReading:
    """All clusters of the cluster file, with the newest records of each.

    :ivar clusters: as configured when they were read last, without those that have a mistake.
    :ivar states: cluster → its state; one without a state has not been read yet. A mistake is a state, too.
    """

    def __init__(self, config: str | None = None) -> None:
        self._config = config
        self._fleet: Fleet | None = None
        self.clusters: dict[str, Cluster] = {}
        self.states: dict[str, ClusterState] = {}
        self.whole = Refreshed(self._read)

    @property
    def names(self) -> set[str]:
        """Return all clusters that are known."""
        return {*self.clusters, *self.states}

    def find(self, name: str) -> Cluster:
        """Return a cluster of the file.

        :raises ConfigInvalid: it has a mistake, there is none, or the file cannot be read.
        """
        return self.clusters.get(name) or configured_fleet(self._config).cluster(name)

    def _read(self) -> bool:
        configured = configured_fleet(self._config)
        clusters = configured.clusters
        if self._fleet is None or clusters != self.clusters:
            most_bytes = min(_MOST_BYTES, _FLEET_BYTES // max(1, len(clusters)))
            self._fleet = Fleet(
                clusters.values(), limit_s=_LIMIT_S, opener=lambda c: open_with_hook(c, most_bytes=most_bytes)
            )
            self.clusters = clusters
        self._fleet.mistaken = configured.mistaken
        self.states = {name: state for name, state in self.states.items() if name in clusters}
        for state in self._fleet.each():
            self.states[state.cluster] = state
        return True


class Full:
    """One cluster, with all records."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.repository: Repository | None = None
        self._fleet = Fleet([cluster], limit_s=_LIMIT_S, everything=True, opener=self._open)
        self.state: Refreshed[ClusterState] = Refreshed(lambda: self._fleet.states()[0])

    def _open(self, cluster: Cluster) -> Repository:
        self.repository = open_with_hook(cluster)
        return self.repository


class FullReadings:
    """The clusters that somebody looked at last, with all records."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Full] = OrderedDict()
        self._changing = threading.Lock()

    def of(self, cluster: Cluster) -> Full:
        """Return the reading of *cluster*, which begins when its state is looked at."""
        with self._changing:
            full = self._kept.get(cluster.name)
            if full is None or full.cluster != cluster:
                full = self._kept[cluster.name] = Full(cluster)
            self._kept.move_to_end(cluster.name)
            while len(self._kept) > _READ_IN_FULL:
                self._kept.popitem(last=False)
            return full

    def known(self, name: str) -> ClusterState | None:
        """Return the state of a cluster if it was read in full."""
        full = self._kept.get(name)
        return full.state.value if full else None


class Bounded:
    """Work on stores for requests: a store that hangs holds neither the request nor, after a few, any more threads."""

    def __init__(self, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._pool = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="restore-replay page")

    def run(self, work: Callable[[], T], url: str) -> T:
        """Return the result of *work*.

        :raises StoreFailed: it did not end in time; it goes on in the background.
        """
        future: Future[T] = self._pool.submit(work)
        try:
            return future.result(self._limit_s)
        except NotInTime:
            if future.done():  # the work itself raised it
                raise
            future.cancel()
            raise StoreFailed(f"The repository {url} did not answer within {self._limit_s:.0f} s.") from None


def open_with_hook(cluster: Cluster, *, write: bool = False, most_bytes: int = _MOST_BYTES) -> Repository:
    """Open the repository of *cluster* with the credentials of its Airflow connection, or of the environment.

    :param most_bytes: of records that are kept in memory.
    """
    repository = RepositoryHook(cluster).open(write=write)
    if not write:
        repository.store = RememberingStore(repository.store, most_bytes)
    return repository
