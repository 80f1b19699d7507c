"""A real MariaDB primary and real nodes; every started process is gone at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.flavor.mariadb.flavor import MariaDbFlavor
from airflow_restore_replay.core.flavor.mariadb.server import MariaDbServer
from airflow_restore_replay.core.flavor.values import (
    Conn,
    Endpoint,
    Position,
    ReplicationStatus,
    ServerLayout,
)
from tests.support import templates
from tests.support.mariadb import MariaDbPrimary

NodeFactory = Callable[[], MariaDbServer]


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[MariaDbPrimary]:
    started = MariaDbPrimary.start(tmp_path / "primary")
    yield started
    started.discard()


@pytest.fixture
def endpoint(primary: MariaDbPrimary) -> Endpoint:
    return primary.create_backup_account()


@pytest.fixture
def flavor() -> MariaDbFlavor:
    return MariaDbFlavor()


def layout_at(root: Path, **changes: Any) -> ServerLayout:
    settings: dict[str, Any] = {
        "datadir": root / "data",
        "run_dir": root / "run",
        "tmp_dir": root / "tmp",
        "log_path": root / "error.log",
        "plugin_dir": root / "plugins",
        "buffer_pool_bytes": 64 * 2**20,
    }
    return ServerLayout(**(settings | changes))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[MariaDbServer]:
    """An initialized node; not started."""
    server = MariaDbServer(layout_at(tmp_path / "node"))
    templates.initialize(server)
    yield server
    server.kill()


@pytest.fixture
def empty_node(tmp_path: Path) -> Iterator[MariaDbServer]:
    """A node without a data directory."""
    server = MariaDbServer(layout_at(tmp_path / "node"))
    yield server
    server.kill()


class Driver:
    """Waits for a node's replication."""

    def __init__(self, flavor: MariaDbFlavor) -> None:
        self.flavor = flavor

    def wait(
        self, conn: Conn, until: Callable[[ReplicationStatus], bool], *, timeout_s: float = 30
    ) -> ReplicationStatus:
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.flavor.replication_status(conn)
            if until(status):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.05)

    def catch_up(
        self, conn: Conn, endpoint: Endpoint, goal: Position, *, appliers: int = 1
    ) -> ReplicationStatus:
        self.flavor.start_replication(conn, endpoint, until=goal, appliers=appliers)
        status = self.wait(conn, lambda s: s.error is not None or s.applied.contains(goal))
        assert status.error is None, status.error
        return status


@pytest.fixture
def driver(flavor: MariaDbFlavor) -> Driver:
    return Driver(flavor)
