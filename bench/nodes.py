"""Replay nodes outside of cycles, and what a server's tables sum up to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_restore_replay.core.flavor.values import ServerLayout
from tests.support.primary import Primary

#: the same memory for all: the difference is what they do for their durability
BUFFER_POOL_BYTES = 256 * 2**20


def layout_at(place: Path, primary: Primary) -> ServerLayout:
    """Return a node below *place* that runs the programs of *primary*."""
    return ServerLayout(
        datadir=place / "data",
        run_dir=place / "run",
        tmp_dir=place / "tmp",
        log_path=place / "log" / "server.err",
        plugin_dir=place / "plugin",
        buffer_pool_bytes=BUFFER_POOL_BYTES,
        bindir=Path(primary.bindir) if primary.bindir else None,
    )


def checksums(conn: Any, tables: int) -> list[Any]:
    """Return what the server says of sysbench's tables."""
    with conn.cursor() as cursor:
        cursor.execute("CHECKSUM TABLE " + ", ".join(f"sbtest.sbtest{n}" for n in range(1, tables + 1)))
        return list(cursor.fetchall())
