"""Seed with ``mariadb-backup`` on the primary's host, streamed into the node's data directory."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from airflow_restore_replay.core.errors import TargetNotEmpty
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.mariadb import backup
from airflow_restore_replay.core.flavor.mariadb.dump import tls_options
from airflow_restore_replay.core.flavor.mariadb.server import MariaDbServer
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.pipeline import pipe
from airflow_restore_replay.core.flavor.seeding import refuse_unsupported_tables
from airflow_restore_replay.core.flavor.tables import data_bytes
from airflow_restore_replay.core.flavor.values import Endpoint, Position
from airflow_restore_replay.core.system.processes import run_program


def seed_physical(
    flavor: Flavor,
    server: NodeServer,
    primary: Endpoint,
    *,
    secrets_dir: Path,
    prefix: list[str],
    defaults_file: str | None,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Position:
    """Fill an empty node from *primary*, and leave the node's server running.

    :param prefix: argv before the backup program: ``[]`` on the same host, else for example ``[ssh, db1]``.
    :param defaults_file: option file on the primary's host with the program's credentials. Without it and
        without a prefix, the program gets *primary*'s credentials in a private option file that is deleted afterwards.
    :param progress: called with (streamed, estimated) bytes.
    :returns: the position that the node has executed.
    :raises TargetNotEmpty: the node's data directory is not empty.
    :raises SourceCorrupt: the program found corrupt pages on the primary.
    :raises PrimaryUnreachable, ReplicationDenied, SeedFailed: depending on the error that the program reports.
    """
    assert isinstance(server, MariaDbServer)
    datadir = server.layout.datadir
    datadir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(datadir.iterdir()):
        raise TargetNotEmpty(f"The node's data directory {datadir} is not empty.")
    with contextlib.closing(flavor.connect(primary)) as conn:
        refuse_unsupported_tables(flavor.unsupported_tables(conn))
        total = data_bytes(conn)
    with _program(server, primary, secrets_dir, prefix, defaults_file) as command:
        done = pipe(
            command,
            [server.program("mbstream"), "--extract", f"--directory={datadir}"],
            progress=lambda copied: progress(copied, total),
            cancelled=cancelled,
            # A prefix is the user's own command, for example ssh, and has the user's environment.
            source_environment=dict(os.environ) if prefix else None,
        )
    if done.sink_status > 0:
        raise backup.extract_error(done.sink_status, done.sink_stderr)
    if done.source_status or "completed OK!" not in done.source_stderr:
        raise backup.backup_error(done.source_status, done.source_stderr)
    if done.sink_status:
        raise backup.extract_error(done.sink_status, done.sink_stderr)
    _prepare(server)
    position = backup.copied_position(datadir)
    for pattern in backup.LEFTOVERS:
        for path in datadir.glob(pattern):
            path.unlink()
    server.start(replaying=True)
    with contextlib.closing(server.connect()) as node:
        flavor.set_executed(node, position)
    return position


@contextlib.contextmanager
def _program(
    server: MariaDbServer,
    primary: Endpoint,
    secrets_dir: Path,
    prefix: list[str],
    defaults_file: str | None,
) -> Iterator[list[str]]:
    """Yield argv that runs the backup program on the host of the primary's files."""
    if prefix:
        yield backup.on_host(prefix, backup.backup_command("mariadb-backup", defaults_file, "/tmp"))
        return
    program = server.program("mariadb-backup")
    with tempfile.TemporaryDirectory(prefix="backup-", dir=_made(server.layout.tmp_dir)) as scratch:
        if defaults_file:
            yield backup.backup_command(program, defaults_file, scratch)
            return
        with option_file(primary, secrets_dir, tls_options) as options:
            yield backup.backup_command(program, str(options), scratch)


def _prepare(server: MariaDbServer) -> None:
    layout = server.layout
    command = backup.prepare_command(
        server.program("mariadb-backup"),
        layout.datadir,
        layout.buffer_pool_bytes,
        layout.variables.get("innodb_page_size", ""),
    )
    done = run_program(command)
    if done.returncode or "completed OK!" not in done.stderr:
        raise backup.extract_error(done.returncode, done.stderr)


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
