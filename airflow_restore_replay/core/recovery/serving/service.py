"""The server of archived logs during a restore: its directory, its port and certificates, and the end of it."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.flavor import server_record
from airflow_restore_replay.core.flavor.archive_server import ArchiveServer, Service
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.values import ServerLayout
from airflow_restore_replay.core.recovery.serving.authority import make_certificates

#: it holds no data
_BUFFER_POOL_BYTES = 16 * 2**20


def archive_server(flavor: Flavor, cluster: Cluster, directory: Path) -> ArchiveServer:
    """Return a server below *directory* that is not initialized and not started.

    :param cluster: says where programs are and how servers are confined.
    :param directory: of its own; it is emptied.
    """
    remove_server(directory)
    directory.mkdir(mode=0o700)
    ca, cert, key = make_certificates(directory)
    port = _free_port()
    layout = ServerLayout(
        datadir=directory / "data",
        run_dir=directory / "run",
        tmp_dir=directory / "tmp",
        log_path=directory / "log" / "server.err",
        plugin_dir=directory / "plugin",
        bindir=Path(cluster.node.bindir) if cluster.node.bindir else None,
        buffer_pool_bytes=_BUFFER_POOL_BYTES,
        confine=cluster.node.confine,
        readable=(*map(Path, cluster.node.readable), ca, cert, key),
        primary_port=port,
        served_port=port,
    )
    return flavor.archive_server(layout, Service(port, ca, cert, key))


def remove_server(directory: Path) -> None:
    """Kill the server of *directory*, and remove all that it had; idempotent."""
    if directory.exists():
        server_record.kill_recorded(directory / "run")
        shutil.rmtree(directory)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
