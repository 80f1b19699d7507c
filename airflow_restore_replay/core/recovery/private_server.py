"""A server on a restored directory that nobody else can reach, for checks and for a script before it is handed over."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.program_output import last_line
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import ServerLayout
from airflow_restore_replay.core.repository.format.records import Manifest
from airflow_restore_replay.core.repository.transfer.walk import matches
from airflow_restore_replay.core.system.files import empty_directory
from airflow_restore_replay.core.system.processes import program_environment

_CLIENTS = {"mariadb": "mariadb", "mysql": "mysql"}


@contextlib.contextmanager
def private_server(
    cluster: Cluster, manifest: Manifest, target: Path, *, beside: Path | None = None
) -> Iterator[NodeServer]:
    """Run a server on *target* for as long as the context lasts, confined and on a socket only, and stop it cleanly.

    :param beside: directory for a directory with the server's other files; that of *target* by default.
    :raises ServerStartFailed: it does not start on the data.
    """
    flavor = get_flavor(manifest.flavor)
    private = Path(tempfile.mkdtemp(prefix=f".{target.name}-server-", dir=beside or target.parent))
    server = flavor.server(
        ServerLayout(
            datadir=target,
            run_dir=private / "run",
            tmp_dir=private / "tmp",
            log_path=private / "log" / "server.err",
            plugin_dir=private / "plugin",
            bindir=Path(cluster.node.bindir) if cluster.node.bindir else None,
            buffer_pool_bytes=cluster.node.buffer_pool,
            confine=cluster.node.confine,
            readable=tuple(map(Path, cluster.node.readable)),
            primary_port=0,
            variables=manifest.variables,
        )
    )
    try:
        server.start(replaying=False)
        yield server
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(private, ignore_errors=True)
        for path in target.iterdir():
            if path.is_file() and matches(path.name, flavor.excluded_files):
                path.unlink()


def run_privately(
    script: Path, cluster: Cluster, manifest: Manifest, target: Path, *, beside: Path | None = None
) -> None:
    """Run an SQL script on *target* by a private server; if that fails, the directory is emptied.

    :param beside: see :func:`private_server`.
    """
    try:
        with private_server(cluster, manifest, target, beside=beside) as server:
            run_script(server, manifest.flavor, script)
    except BaseException:
        # What was not masked must not be left for the next task.
        empty_directory(target)
        raise


def run_script(server: NodeServer, flavor: str, script: Path) -> None:
    """Run an SQL script with the flavor's own client; the first statement that fails ends it.

    The account may write, although the server is read-only, and is gone after the clean stop.

    :raises PreflightFailed: the script cannot be read, or a statement failed.
    """
    program = server.program(_CLIENTS[flavor])
    with (
        tempfile.TemporaryDirectory() as private,
        option_file(server.endpoint(), Path(private), lambda _: {}) as options,
    ):
        try:
            with script.open("rb") as statements:
                done = subprocess.run(
                    [program, f"--defaults-file={options}", "--batch"],
                    stdin=statements,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    env=program_environment(),
                    check=False,
                )
        except OSError as exc:
            raise PreflightFailed(f"The script {script} cannot be read: {exc.strerror}.") from exc
    if done.returncode:
        raise PreflightFailed(
            f"The script {script} failed: {last_line(done.stderr)}",
            hint="The directory holds unmasked data; it was not handed over.",
        )
