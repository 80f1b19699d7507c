"""Fill a node: restore a backup, or seed it from the primary; rebuild it after a failure.

The first start of the server belongs to filling: a restore is complete when the server runs on it.
"""

from __future__ import annotations

import time
from typing import Any

from airflow_restore_replay.core.errors import (
    BackupFault,
    ErrorLogDirty,
    FileMissing,
    NodeServerCrashed,
    PreflightFailed,
    WrongPhase,
)
from airflow_restore_replay.core.flavor.errorlog import missing_file, most_telling
from airflow_restore_replay.core.jobs.checks.definitions import DefinitionsCheck, altered_since_recorded
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.node_state import NodeState, require_phase
from airflow_restore_replay.core.jobs.preflight import preflight
from airflow_restore_replay.core.jobs.protocol import JobName, Phase
from airflow_restore_replay.core.jobs.room import bytes_of_servers
from airflow_restore_replay.core.jobs.seed import SEEDS, SeedInputs
from airflow_restore_replay.core.repository.format.records import BaseRef, Manifest
from airflow_restore_replay.core.repository.rate_limit import RateLimit
from airflow_restore_replay.core.repository.transfer.restore import restore_tree
from airflow_restore_replay.core.system.files import allocated_bytes, require_space

#: phases from which filling may begin or resume
_FILLABLE = (Phase.EMPTY, Phase.FILLING, Phase.STARTING)
#: notes of a seed that are true of all backups that continue it
_LACKING = ("left_out", "accounts_refused")


def restore(ctx: JobContext) -> dict[str, Any]:
    """Restore ``params["backup_id"]`` and start the server on it.

    With ``params["standalone"]`` there is no preflight, because a drill needs no primary.

    :returns: backup_id, position, bytes, fetched_bytes, seconds, start_seconds.
    """
    _begin(ctx, JobName.RESTORE, "replay.create_node")
    if not ctx.params.get("standalone"):
        preflight(ctx, seeding=False)
    return run_fill(ctx)


def seed(ctx: JobContext) -> dict[str, Any]:
    """Fill the node with a fresh full copy of the primary, by ``params["method"]`` or the cluster's method.

    :returns: method, position, bytes, seconds.
    :raises PreflightFailed: the run is as of a past time.
    """
    if ctx.as_of is not None:
        raise PreflightFailed(
            f"A run as of {ctx.as_of:%Y-%m-%dT%H:%M:%SZ} cannot seed: the primary has no copy of its past.",
            hint="It needs a backup from before that time as base.",
        )
    _begin(ctx, JobName.SEED, "full.create_node")
    preflight(ctx, seeding=True)
    return run_fill(ctx)


def _begin(ctx: JobContext, job: JobName, clear_from: str) -> None:
    state = ctx.state
    require_phase(state, *_FILLABLE, job=job, clear_from=clear_from)
    same = state.fill == {"job": job.value, "params": dict(ctx.params)}
    # Resume only the same fill, and only if no server was started: a server may have written to the files.
    if state.phase is Phase.STARTING or not same:
        _empty(ctx)
    with ctx.node.changing() as changed:
        changed.fill = {"job": job.value, "params": dict(ctx.params)}


def _empty(ctx: JobContext) -> None:
    ctx.server.kill()
    ctx.node.wipe()


def run_fill(ctx: JobContext) -> dict[str, Any]:
    """Carry out the fill that is recorded in the node's state."""
    fill = ctx.state.fill
    if fill["job"] == JobName.RESTORE:
        return _restore(ctx, str(fill["params"]["backup_id"]))
    return _seed(ctx, str(fill["params"].get("method") or ctx.cluster.seed.method))


def rebuild(ctx: JobContext, cause: Exception) -> None:
    """Discard the node's data and fill it again, once in a node's life.

    :param cause: raised again if the node was rebuilt before.
    """
    state = ctx.state
    if state.rebuilt:
        raise cause
    if not state.fill:
        raise WrongPhase(
            f"Node {state.node_id} was never filled, so it cannot be filled again.",
            hint="Clear the run from create_node.",
        )
    ctx.report.phase("refilling the node", detail=str(cause)[:200])
    # Recorded before anything is deleted, so that the next job resumes the rebuild if this one is interrupted.
    with ctx.node.changing() as changed:
        changed.phase, changed.rebuilt, changed.single_applier = Phase.EMPTY, state.rebuilt + 1, True
    _empty(ctx)
    run_fill(ctx)


def refilling(state: NodeState) -> tuple[Phase, ...]:
    """Return the phases that a node may be in after an interrupted rebuild; none if it was never rebuilt."""
    return (*_FILLABLE, Phase.FILLED, Phase.REPLAYING) if state.rebuilt else ()


def ensure_server(ctx: JobContext) -> bool:
    """Ensure that the node's server has run since the node was filled.

    Rebuild a node whose server died, and resume an interrupted rebuild.

    :returns: whether the node was filled again.
    """
    state = ctx.state
    if state.rebuilt and state.phase in _FILLABLE:
        if state.phase is not Phase.FILLING:
            _empty(ctx)
        run_fill(ctx)
        return True
    if ctx.server.alive():
        return False
    rebuild(ctx, NodeServerCrashed(f"The server of node {ctx.state.node_id} is gone without a clean stop."))
    return True


def _restore(ctx: JobContext, backup_id: str) -> dict[str, Any]:
    started = time.monotonic()
    manifest = ctx.repository.catalog().backup(backup_id).manifest
    ctx.flavor.refuse_release(
        backup=manifest.server_release, node=ctx.server.release(), primary=ctx.server.release()
    )
    resume = ctx.state.phase is Phase.FILLING
    ctx.follow(ctx.flavor.variables.continued(manifest.variables, ctx.state.facts.variables))
    require_space(
        ctx.node.path.parent,
        bytes_of_servers(ctx.flavor, manifest.sizes.restored_bytes),
        what=f"Backup {manifest.backup_id}",
        hint="Free space there, or give node.workdir another disk.",
        held_bytes=max(allocated_bytes(ctx.node.data), ctx.older.room_bytes if ctx.older else 0),
    )
    ctx.node.set_phase(Phase.FILLING)
    ctx.report.phase("restoring", detail=backup_id)
    files = ctx.repository.load_files(manifest)
    result = restore_tree(
        ctx.repository.chunks_for(manifest),
        files,
        ctx.node.data,
        chunk_size_bytes=manifest.chunk_size_bytes,
        pages=ctx.node.pages,
        threads=ctx.cluster.transfer.threads,
        rate_limit=RateLimit(ctx.cluster.transfer.rate_limit),
        progress=ctx.report.count,
        cancelled=ctx.cancelled,
        resume=resume,
        label=backup_id,
        older=ctx.older,
    )
    ctx.stop_if_cancelled()
    ctx.node.save_base(result.base)
    with ctx.node.changing() as state:
        state.facts.base_chains = list(manifest.chains)
    start_seconds = start_filled_server(ctx)
    altered = _altered(ctx, manifest)
    with ctx.node.changing() as state:
        state.phase, state.filled_from = Phase.FILLED, BaseRef(kind="backup", backup_id=backup_id)
        state.facts.altered = altered
    seconds = time.monotonic() - started
    seeded = manifest.notes.get("fill", {})
    summary = {
        "backup_id": backup_id,
        # A copy of the copy lacks it, too.
        **{name: seeded[name] for name in _LACKING if seeded.get(name)},
        "position": manifest.position,
        "bytes": result.bytes,
        "fetched_bytes": result.fetched_bytes,
        "seconds": round(seconds, 3),
        "start_seconds": round(start_seconds, 3),
    }
    since = manifest.lineage_since or (None if manifest.lineage_depth else manifest.goal_read_at)
    with ctx.node.changing() as state:
        facts = state.facts
        facts.fill, facts.lineage_depth, facts.lineage_since = summary, manifest.lineage_depth + 1, since
    return summary


def _altered(ctx: JobContext, manifest: Manifest) -> list[str]:
    """Return what :func:`altered_since_recorded` finds, if a check of definitions follows."""
    name = DefinitionsCheck.name
    record: dict[str, Any] = next((c.get("carry", {}) for c in manifest.checks if c.get("name") == name), {})
    compared = name in ctx.cluster.validate.checks and not ctx.params.get("standalone") and ctx.as_of is None
    return altered_since_recorded(ctx, record) if compared else []


def start_filled_server(ctx: JobContext) -> float:
    """Start the server, with throw-away durability, on data that only the fill has written.

    :returns: seconds until it answered.
    :raises BackupFault: it does not start, or its error log blames the data.
    """
    started = time.monotonic()
    ctx.node.set_phase(Phase.STARTING)
    ctx.report.phase("starting the server")
    ctx.server.start(replaying=True)
    seconds = time.monotonic() - started
    refuse_dirty_log(ctx)
    return seconds


def refuse_dirty_log(ctx: JobContext) -> None:
    """Raise if the server's error log reports damage to the data since the last start.

    :raises FileMissing: a table's file is missing.
    :raises ErrorLogDirty: any other error line about the data.
    """
    lines = ctx.server.log_errors()
    if not lines:
        return
    kind: type[BackupFault] = FileMissing if missing_file(lines) else ErrorLogDirty
    raise kind(
        f"The server started, but its error log reports: {most_telling(lines)}",
        hint="The restored data directory is incomplete or damaged.",
        evidence={"log": lines[:20]},
    )


def refuse_missing_file(ctx: JobContext) -> None:
    """Raise if a missing file explains why replay failed.

    The applier may be the first to open a table whose file is missing.

    :raises FileMissing: the error log names the file.
    """
    if ctx.server.alive() and missing_file(ctx.server.log_errors()):
        refuse_dirty_log(ctx)


def _seed(ctx: JobContext, method: str) -> dict[str, Any]:
    started = time.monotonic()
    _empty(ctx)
    ctx.node.set_phase(Phase.FILLING)
    ctx.report.phase(f"seeding ({method})")
    if method == "logical":
        ctx.follow(ctx.flavor.variables.of_rows(ctx.state.facts.variables))
    inputs = SeedInputs(
        flavor=ctx.flavor,
        server=ctx.server,
        primary=ctx.primary,
        policy=ctx.cluster.seed,
        secrets_dir=ctx.node.secrets,
        progress=ctx.report.count,
        cancelled=ctx.cancelled,
    )
    with ctx.crash_guard("seeding"):
        seeded = SEEDS[method](inputs)
        refuse_dirty_log(ctx)
    with ctx.node.changing() as state:
        state.phase, state.filled_from = Phase.FILLED, BaseRef(kind="seed", method=seeded.method)
    summary = {
        "method": seeded.method,
        **seeded.notes,
        "position": str(seeded.position),
        "bytes": allocated_bytes(ctx.node.data),
        "seconds": round(time.monotonic() - started, 3),
    }
    with ctx.node.changing() as state:
        facts = state.facts
        facts.fill, facts.lineage_depth, facts.lineage_since, facts.base_chains = summary, 0, None, []
        facts.altered = []
    return summary
