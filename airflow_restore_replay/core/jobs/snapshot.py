"""Snapshot: stop the node's server cleanly, copy its data directory, publish the manifest last."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import msgspec

from airflow_restore_replay.core.decoding import decode, encode
from airflow_restore_replay.core.flavor.confine import describe
from airflow_restore_replay.core.flavor.seeding import refuse_unsupported_tables
from airflow_restore_replay.core.jobs.catch_up import catch_up_to_goal
from airflow_restore_replay.core.jobs.context import JobContext
from airflow_restore_replay.core.jobs.fill import ensure_server, refilling
from airflow_restore_replay.core.jobs.node_state import NodeState, require_phase
from airflow_restore_replay.core.jobs.preflight import refuse_hidden
from airflow_restore_replay.core.jobs.protocol import Phase
from airflow_restore_replay.core.jobs.validate import validate_node
from airflow_restore_replay.core.repository.format.records import (
    BaseRef,
    FileEntry,
    Manifest,
    Sizes,
    new_id,
    utc_now,
)
from airflow_restore_replay.core.repository.rate_limit import RateLimit
from airflow_restore_replay.core.repository.transfer.restored_state import RestoredState
from airflow_restore_replay.core.repository.transfer.snapshot import snapshot_tree
from airflow_restore_replay.core.system.files import replace_file


def snapshot(ctx: JobContext) -> dict[str, Any]:
    """Copy the validated node into the repository and publish it.

    :returns: backup_id, position, proof, goal_read_at, the manifest's sizes, seconds.
    """
    started = time.monotonic()
    if refilled := refilling(ctx.state):
        refilled += (Phase.CAUGHT_UP,)
    require_phase(
        ctx.state,
        Phase.VALIDATED,
        Phase.STOPPED,
        Phase.SNAPSHOTTED,
        *refilled,
        job="snapshot",
        clear_from="restore_backup (or seed)",
    )
    if ctx.state.phase in (Phase.VALIDATED, *refilled):
        _stop_cleanly(ctx)
    base = ctx.node.load_base()
    manifest, files = _copy(ctx, base)
    ctx.report.phase("publishing", detail=manifest.backup_id)
    published = ctx.repository.publish(manifest, files, known_lists=base.lists)
    ctx.node.set_phase(Phase.SNAPSHOTTED)
    return _summary(published, time.monotonic() - started)


def _stop_cleanly(ctx: JobContext) -> None:
    """Collect what the manifest needs, remove the replication settings, and stop the server with full durability."""
    if ensure_server(ctx) or ctx.state.phase is not Phase.VALIDATED:
        catch_up_to_goal(ctx)
        validate_node(ctx)
    ctx.report.phase("stopping the server")
    position = ctx.flavor.parse_position(ctx.state.position)
    chains = ctx.flavor.last_events(ctx.primary, position, ctx.state.facts.base_chains)
    with ctx.flavor.connect(ctx.primary) as primary:
        refuse_hidden(ctx, primary)
        event_states = ctx.flavor.event_states(primary)
        kept_logs = msgspec.to_builtins(ctx.flavor.kept_logs(primary))
    with ctx.crash_guard("stopping"), ctx.server.connect() as node:
        refuse_unsupported_tables(ctx.flavor.unsupported_tables(node))
        if ctx.as_of is not None:
            # The states are the primary's of today; events that were created since *as_of* are not in the copy.
            then = ctx.flavor.event_states(node)
            event_states = {name: state for name, state in event_states.items() if name in then}
        ctx.flavor.stop_replication(node)
        ctx.flavor.forget_replication(node)
        executed = ctx.flavor.executed_position(node)
    with ctx.node.changing() as state:
        state.position = str(executed)
        state.facts.chains, state.facts.event_states = list(chains), dict(event_states)
        state.facts.kept_logs = kept_logs
    ctx.server.stop()
    ctx.node.set_phase(Phase.STOPPED)


def _copy(ctx: JobContext, base: RestoredState) -> tuple[Manifest, list[FileEntry]]:
    """Copy the files, unless an earlier try did and only publishing remains."""
    kept = ctx.node.path / "manifest.json"
    if kept.exists():
        return decode(kept.read_bytes(), tuple[Manifest, list[FileEntry]])
    ctx.report.phase("copying")
    repository, transfer = ctx.repository, ctx.cluster.transfer
    files, sizes = snapshot_tree(
        repository.chunks,
        ctx.node.data,
        excluded=ctx.flavor.excluded_files,
        base=base,
        skippable=() if transfer.paranoid else ctx.flavor.skippable_files,
        journal=ctx.node.bundled,
        threads=transfer.threads,
        rate_limit=RateLimit(transfer.rate_limit),
        progress=ctx.report.count,
        cancelled=ctx.cancelled,
    )
    ctx.stop_if_cancelled()
    manifest = _manifest(ctx, sizes)
    # A retry after a crash must publish this same manifest, because the create is conditional on its name.
    replace_file(kept, encode((manifest, files)))
    return manifest, files


def _manifest(ctx: JobContext, sizes: Sizes) -> Manifest:
    state, now = ctx.state, utc_now()
    if state.goal_read_at is None or state.filled_from is None:
        raise AssertionError("a validated node has a goal and was filled")
    return Manifest(
        backup_id=new_id(now),
        cluster=ctx.cluster.name,
        flavor=ctx.flavor.name,
        server_release=ctx.server.release(),
        created_at=now,
        run=state.run.run,
        lease_epoch=state.run.lease_epoch,
        base=state.filled_from or BaseRef(kind="seed"),
        lineage_depth=state.facts.lineage_depth,
        lineage_since=_lineage_since(state),
        position=state.position,
        goal=state.goal,
        goal_read_at=state.goal_read_at,
        as_of=ctx.as_of,
        primary_uid=state.facts.primary_uid,
        variables=state.facts.variables,
        node_server_id=state.server_id,
        chunk_size_bytes=ctx.repository.chunk_size_bytes,
        file_list="",
        key_id=ctx.repository.key_id,
        sizes=sizes,
        chains=state.facts.chains,
        event_states=state.facts.event_states,
        compared=state.facts.compared,
        checks=state.facts.checks,
        notes=_notes(state) | {"confined": describe(ctx.cluster.node.confine)},
    )


def _lineage_since(state: NodeState) -> datetime | None:
    return state.facts.lineage_since or (None if state.facts.lineage_depth else state.goal_read_at)


def _notes(state: NodeState) -> dict[str, Any]:
    facts = state.facts
    notes = {
        "fill": facts.fill,
        "catch_up": facts.catch_up,
        "as_of": facts.as_of,
        "warnings": facts.warnings,
        "kept_logs": facts.kept_logs,
    }
    return {name: note for name, note in notes.items() if note}


def _summary(manifest: Manifest, seconds: float) -> dict[str, Any]:
    sizes = manifest.sizes
    as_of = {"as_of": manifest.as_of.isoformat()} if manifest.as_of else {}
    return {
        **as_of,
        "backup_id": manifest.backup_id,
        "position": manifest.position,
        "proof": manifest.proof.value,
        "goal_read_at": manifest.goal_read_at.isoformat(),
        **msgspec.structs.asdict(sizes),
        "seconds": round(seconds, 3),
    }
