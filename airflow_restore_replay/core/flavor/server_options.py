"""Options of a node's server that all flavors know: places, isolation, and replication without loss."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.flavor.values import ServerLayout, Serving


def relay_dir(layout: ServerLayout) -> Path:
    """Return the directory of relay logs: not in the data directory, so that no snapshot contains them."""
    return layout.run_dir / "relay"


def run_as() -> list[str]:
    """Return the option that the server requires to run as root; as any other user it needs none."""
    return ["--user=root"] if os.geteuid() == 0 else []


def common_options(layout: ServerLayout, *, program: str, socket: Path, init_file: Path) -> list[str]:
    """Return the first options after the program's name."""
    relay = relay_dir(layout)
    return [
        "--no-defaults",
        *run_as(),
        f"--datadir={layout.datadir}",
        f"--socket={socket}",
        f"--pid-file={layout.run_dir / program}.pid",
        f"--log-error={layout.log_path}",
        f"--tmpdir={layout.tmp_dir}",
        f"--plugin-dir={layout.plugin_dir}",
        f"--secure-file-priv={layout.run_dir / 'closed'}",
        f"--relay-log={relay / 'relay-bin'}",
        f"--relay-log-index={relay / 'relay-bin.index'}",
        f"--init-file={init_file}",
        f"--server-id={layout.server_id}",
        *_ISOLATION,
        *_REPLICATION,
        f"--innodb-buffer-pool-size={layout.buffer_pool_bytes}",
        "--innodb-buffer-pool-load-at-startup=OFF",
        "--innodb-buffer-pool-dump-at-shutdown=OFF",
    ]


@dataclass(frozen=True)
class CopyPlaces:
    """Files of the server of a restored copy, beside its data.

    :param plugins: None for those that are installed with the server.
    """

    socket: Path
    pid_file: Path
    log: Path
    tmp_dir: Path
    plugins: Path | None = None


def copy_options(datadir: Path, serving: Serving, places: CopyPlaces, *, buffer_pool_bytes: int) -> list[str]:
    """Return the first options, after the program's name, of the server of a restored copy that people use."""
    option_file = f"--defaults-file={serving.option_file}" if serving.option_file else "--no-defaults"
    network = (
        [f"--port={serving.port}", f"--bind-address={serving.bind}"]
        if serving.port
        else ["--skip-networking"]
    )
    return [
        option_file,
        *run_as(),
        f"--datadir={datadir}",
        f"--socket={places.socket}",
        f"--pid-file={places.pid_file}",
        f"--log-error={places.log}",
        f"--tmpdir={places.tmp_dir}",
        *([f"--plugin-dir={places.plugins}"] if places.plugins else []),
        *network,
        f"--read-only={'OFF' if serving.writable else 'ON'}",
        "--event-scheduler=OFF",
        *([f"--server-id={serving.server_id}", "--log-bin=binlog"] if serving.logs else ["--skip-log-bin"]),
        "--relay-log=relay-bin",
        f"--innodb-buffer-pool-size={buffer_pool_bytes}",
        # A backup has no list of the pool's pages.
        "--innodb-buffer-pool-load-at-startup=OFF",
    ]


_ISOLATION = [
    "--skip-networking",
    "--skip-name-resolve",
    "--read-only=ON",
    "--event-scheduler=OFF",
    "--skip-log-bin",
    "--local-infile=0",
    # The node must accept every definition that the primary accepted; strict checks would stop the applier.
    "--innodb-strict-mode=OFF",
    "--general-log=0",
    "--slow-query-log=0",
    # Until the primary's are known; the options that follow from those come last.
    "--default-time-zone=SYSTEM",
    "--character-set-server=utf8mb4",
    "--max-connections=64",
]

_REPLICATION = ["--relay-log-recovery=ON", "--relay-log-purge=ON", "--max-allowed-packet=1073741824"]
