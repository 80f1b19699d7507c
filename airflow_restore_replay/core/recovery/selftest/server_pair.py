"""Two servers on copies of one backup: a node, which is damaged, and its twin, which acts as the primary."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from airflow_restore_replay.core.config.checks import Validation
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.sections import NodeSpec, RepositorySpec
from airflow_restore_replay.core.decisions.attempts import PROVE
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.sql import run
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position, ServerLayout, Snapshot, Table
from airflow_restore_replay.core.jobs.checks import Check
from airflow_restore_replay.core.jobs.checks.check_table import CheckTableCheck
from airflow_restore_replay.core.jobs.checks.cold_pages import ColdPagesCheck
from airflow_restore_replay.core.jobs.checks.definitions import DefinitionsCheck
from airflow_restore_replay.core.jobs.checks.error_log import ErrorLogCheck
from airflow_restore_replay.core.jobs.checks.position import PositionCheck
from airflow_restore_replay.core.jobs.checks.run import run_checks
from airflow_restore_replay.core.jobs.checks.same_data import SameDataCheck
from airflow_restore_replay.core.jobs.context import JobContext, Reporter
from airflow_restore_replay.core.jobs.fill import refuse_dirty_log
from airflow_restore_replay.core.jobs.node import NodeDir
from airflow_restore_replay.core.jobs.protocol import (
    JobName,
    JobRequest,
    NodeRequest,
    Phase,
    RunRef,
    Secrets,
)
from airflow_restore_replay.core.recovery.selftest import probe_schema as probe
from airflow_restore_replay.core.recovery.selftest.fault import Found
from airflow_restore_replay.core.recovery.selftest.scratch import Scratch
from airflow_restore_replay.core.repository.format.records import BaseRef, Manifest
from airflow_restore_replay.core.repository.objects.record_store import encode_record
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.repository.transfer.restored_state import FileStat, RestoredState
from airflow_restore_replay.core.system.files import require_space

_RUN = RunRef(run="selftest", attempt=PROVE, lease_epoch=0)
#: space in units of the data: two copies, and the files that the servers write
_COPIES = 2.2


class _StandIn:
    """A flavor for a primary without binary log, whose position is its executed GTID set; only the probe counts."""

    skippable_files: Sequence[str] = (f"{probe.SCHEMA}/*.ibd",)

    def __init__(self, flavor: Flavor) -> None:
        self._flavor = flavor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._flavor, name)

    def tables(self, conn: Conn) -> list[Table]:
        return [table for table in self._flavor.tables(conn) if table.schema == probe.SCHEMA]

    def primary_position(self, primary: Conn) -> Position:
        return self._flavor.executed_position(primary)

    def open_snapshot(self, _: Endpoint, primary: Conn) -> Snapshot:
        run(primary, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        run(primary, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        return Snapshot(self.primary_position(primary), "selftest")

    def release_metadata_locks(self, _: Conn) -> bool:
        return True  # no other session uses the twin


@dataclass
class ServerPair:
    """A node and the server that acts as its primary.

    :param ctx: context of the node's jobs.
    :param twin: server that acts as the primary.
    """

    ctx: JobContext
    twin: NodeServer

    @classmethod
    def make(
        cls, production: Repository, manifest: Manifest, scratch: Scratch, cluster: Cluster, workdir: Path
    ) -> ServerPair:
        """Restore the backup, add the probe schema to it, and copy the data.

        :param production: the repository, which is only read.
        :param scratch: copy of its records, for the checks.
        :param workdir: parent directory of the two copies.
        :raises RestoreReplayError: no server of that release is installed here, there is no space, or the backup is
            damaged.
        """
        require_space(
            workdir,
            int(_COPIES * manifest.sizes.restored_bytes),
            what="A self-test on two copies",
            hint="Free space there, or name another directory with --workdir.",
        )
        ctx = _context(scratch, _configured(cluster, scratch, workdir))
        ctx.flavor.refuse_release(
            backup=manifest.server_release, node=ctx.server.release(), primary=ctx.server.release()
        )
        restored = restore_tree(
            production.chunks_for(manifest),
            production.load_files(manifest),
            ctx.node.data,
            chunk_size_bytes=manifest.chunk_size_bytes,
            label=manifest.backup_id,
        )
        with ctx.node.changing() as state:
            state.phase = Phase.FILLED
            state.filled_from = BaseRef(kind="backup", backup_id=manifest.backup_id)
            state.facts.fill = {"position": manifest.position, "bytes": restored.bytes}
        ctx.follow(manifest.variables)
        ctx.server.start(replaying=False)
        with ctx.server.connect() as conn:
            for statement in probe.STATEMENTS:
                run(conn, statement)
            defined = ctx.flavor.definitions(conn).recorded()
        ctx.server.stop()
        _leave(scratch, {"name": DefinitionsCheck.name, "carry": {"objects": defined}})
        layout = _layout(workdir / "twin", ctx.server.layout)
        shutil.copytree(ctx.node.data, layout.datadir)
        # The two servers must have different UUIDs.
        (layout.datadir / "auto.cnf").unlink(missing_ok=True)
        return cls(ctx, ctx.flavor.server(layout))

    def start(self) -> None:
        """Start both servers; from now on the checks use the twin as the primary."""
        self.twin.start(replaying=False)
        self.ctx.primary = self.twin.endpoint()
        self.ctx.flavor = cast(Flavor, _StandIn(self.ctx.flavor))
        self.restart()

    def restart(self) -> Found:
        """Start the node as if its files had just been restored.

        :returns: error code of the start, if it found damage.
        """
        node = self.ctx.node
        names = [path.relative_to(node.data).as_posix() for path in node.data.glob(f"{probe.SCHEMA}/*.ibd")]
        node.save_base(RestoredState(stats={name: FileStat.of((node.data / name).lstat()) for name in names}))
        try:
            self.ctx.server.start(replaying=False)
            refuse_dirty_log(self.ctx)
        except RestoreReplayError as exc:
            return {"start": exc.code}
        return {}

    def check(self) -> Found:
        """Run the checks, and return the first check that failed → its error code."""
        try:
            run_checks(self.ctx, _checks())
        except RestoreReplayError as exc:
            return {str(self.ctx.state.facts.checks[-1]["name"]): exc.code}
        return {}

    def execute(self, statements: Sequence[str]) -> None:
        """Run statements on the node."""
        with self.ctx.server.connect() as conn:
            for statement in statements:
                run(conn, statement)

    def end(self) -> None:
        """Kill both servers."""
        self.ctx.server.kill()
        self.twin.kill()


def _leave(scratch: Scratch, check: dict[str, Any]) -> None:
    """Record *check* in the copied manifest, so that the checks expect the objects of the probe schema."""
    repository = scratch.open()
    manifest = repository.load_manifest(scratch.backup_id)
    others = [c for c in manifest.checks if c.get("name") != check["name"]]
    changed = replace(manifest, checks=[*others, check])
    scratch.manifest.write_bytes(encode_record(changed, repository.sealer))


def _checks() -> list[Check]:
    return [
        ErrorLogCheck(),
        PositionCheck(),
        DefinitionsCheck(),
        ColdPagesCheck(),
        CheckTableCheck(),
        SameDataCheck(),
        ErrorLogCheck(),
    ]


def _configured(cluster: Cluster, scratch: Scratch, workdir: Path) -> Cluster:
    here = cluster.node.runtime == "process"
    node = NodeSpec(
        workdir=str(workdir / "nodes"),
        bindir=cluster.node.bindir if here else None,
        buffer_pool=cluster.node.buffer_pool,
    )
    return replace(
        cluster,
        repository=RepositorySpec(url=scratch.root.as_uri()),
        node=node,
        validate=Validation(),
    )


def _context(scratch: Scratch, cluster: Cluster) -> JobContext:
    request = NodeRequest(node_id="selftest", run=_RUN, cluster=cluster)
    node = NodeDir.create(Path(cluster.node.workdir), request)
    job = JobRequest(
        key="selftest",
        job=JobName.VALIDATE,
        run=_RUN,
        cluster=cluster,
        secrets=Secrets(keys=tuple(scratch.keys)),
    )
    return JobContext(node, job, Reporter(lambda progress: None))


def _layout(root: Path, like: ServerLayout) -> ServerLayout:
    root.mkdir()
    return ServerLayout(
        datadir=root / "data",
        run_dir=root / "run",
        tmp_dir=root / "tmp",
        log_path=root / "log" / "server.err",
        plugin_dir=root / "plugin",
        bindir=like.bindir,
        buffer_pool_bytes=like.buffer_pool_bytes,
        server_id=like.server_id + 1,
        variables=like.variables,
    )
