"""MySQL nodes and what tests do with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.flavor.mysql.flavor import MySqlFlavor
from airflow_restore_replay.core.flavor.mysql.server import MySqlServer
from airflow_restore_replay.core.flavor.values import (
    Conn,
    Endpoint,
    Position,
    ReplicationStatus,
    ServerLayout,
)
from tests.support import templates
from tests.support.mysql import programs


def layout_at(root: Path, **changes: Any) -> ServerLayout:
    settings: dict[str, Any] = {
        "datadir": root / "data",
        "run_dir": root / "run",
        "tmp_dir": root / "tmp",
        "log_path": root / "log" / "error.log",
        "plugin_dir": root / "plugins",
        "bindir": Path(programs()),
        "buffer_pool_bytes": 64 * 2**20,
    }
    return ServerLayout(**(settings | changes))


def initialized(root: Path, **changes: Any) -> MySqlServer:
    """Return a node as :meth:`initialize` leaves it."""
    server = MySqlServer(layout_at(root, **changes))
    templates.initialize(server)
    return server


def catch_up(
    flavor: MySqlFlavor, node: Conn, primary: Endpoint, goal: Position, *, appliers: int = 1
) -> None:
    """Replay until *goal*; a replication error fails the test."""
    flavor.start_replication(node, primary, until=goal, appliers=appliers)
    status = wait(flavor, node, lambda s: s.error is not None or s.applied.contains(goal))
    assert status.error is None, status.error
    flavor.stop_replication(node)


def wait(
    flavor: MySqlFlavor, node: Conn, until: Callable[[ReplicationStatus], bool], *, timeout_s: float = 60
) -> ReplicationStatus:
    deadline = time.monotonic() + timeout_s
    while True:
        status = flavor.replication_status(node)
        if until(status):
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
