"""Backups that check out byte by byte and are wrong all the same: restored, changed, stored again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from pymysql.connections import Connection

from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import ServerLayout
from airflow_restore_replay.core.repository.format.records import new_id, utc_now
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from tests.support.primary import Witness
from tests.support.rig import Rig


def tampered(rig: Rig, backup_id: str, change: Callable[[Path], None] | Sql, **fields: Any) -> str:
    """Store a changed copy of a backup as a newer one.

    :param change: gets the restored data directory.
    :param fields: changes of the manifest.
    :returns: its id.
    """
    data = rig.restores(backup_id)
    if isinstance(change, Sql):
        change.on(rig, data)
    else:
        change(data)
    repository = rig.repository()
    files, sizes = snapshot_tree(
        repository.chunks, data, excluded=get_flavor(rig.primary.flavor).excluded_files
    )
    shutil.rmtree(data)
    epoch = repository.lease.acquire("tamper", 60)
    old = repository.load_manifest(backup_id)
    manifest = msgspec.structs.replace(
        old,
        **{
            "backup_id": new_id(),
            "created_at": utc_now(),
            "goal_read_at": utc_now(),
            "run": "tamper",
            "lease_epoch": epoch,
            "sizes": sizes,
            **fields,
        },
    )
    published = repository.publish(manifest, files)
    repository.lease.release("tamper", epoch)
    return published.backup_id


@contextlib.contextmanager
def running(data: Path, rig: Rig | None = None) -> Iterator[Connection[Any]]:
    """Run a server on a restored data directory; stops it cleanly.

    :param rig: says which flavor; MariaDB without it.
    """
    around = data.parent / f"{data.name}-server"
    layout = ServerLayout(
        datadir=data,
        run_dir=around / "run",
        tmp_dir=around / "tmp",
        log_path=around / "log" / "server.err",
        plugin_dir=around / "plugin",
        buffer_pool_bytes=64 * 2**20,
        bindir=Path(rig.primary.bindir) if rig and rig.primary.bindir else None,
    )
    around.mkdir()
    server = get_flavor(rig.primary.flavor if rig else "mariadb").server(layout)
    server.start(replaying=False)
    try:
        with server.connect() as conn:
            yield conn
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(around)


class Sql:
    """A change that runs statements on the restored copy."""

    def __init__(self, statements: tuple[str, ...]) -> None:
        self._statements = statements

    def on(self, rig: Rig, data: Path) -> None:
        with running(data, rig) as conn, conn.cursor() as cursor:
            for statement in self._statements:
                cursor.execute(statement)


def by_sql(*statements: str) -> Sql:
    """Return a change that runs statements on the restored copy."""
    return Sql(statements)


def witnessed(rig: Rig, backup_id: str, witness: Witness) -> int:
    """Return the last row of the witness in the restored backup, which has all rows before it."""
    with running(rig.restores(backup_id), rig) as conn, conn.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), MAX(id) FROM {witness.table}")
        ((rows, last),) = cursor.fetchall()
    assert rows == last
    return int(last)
