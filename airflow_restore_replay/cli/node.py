"""``restore-replay node``: list the replay nodes of a cluster, and remove orphaned ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from airflow_restore_replay.cli.connections import node_runtime
from airflow_restore_replay.cli.output import console, show_table
from airflow_restore_replay.cli.scope import Scope, scoped
from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.errors import NodeGone
from airflow_restore_replay.core.repository.format.records import utc_now
from airflow_restore_replay.core.runtime.nodes import reap as reap_nodes

#: No run has this name. As the run to keep, it makes the reaper remove the nodes of every run.
_NO_RUN = ""


@click.group("node")
def command() -> None:
    """Replay nodes: list them, remove orphaned ones."""


@command.command("list")
@scoped
def list_nodes(scope: Scope) -> None:
    """List the replay nodes in the cluster's work directory."""
    nodes = node_runtime(scope.cluster).nodes()
    if scope.as_json:
        scope.emit({"workdir": scope.cluster.node.workdir, "nodes": nodes})
    elif nodes:
        show_table(["NODE", "CLUSTER", "ATTEMPT", "PHASE", "JOB", "AGE", "RUN"], [_row(n) for n in nodes])
    else:
        console().print(f"No replay nodes in {scope.cluster.node.workdir}.", markup=False)


@command.command("reap")
@click.argument("node_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="Also remove nodes that a run may still use.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@scoped
def reap(scope: Scope, node_id: str | None, every: bool, dry_run: bool) -> None:
    """Stop and remove nodes: those past node.max_age, the one named ID, or --all of the cluster.

    A node is of no use after its run, so only work in progress can be lost.
    """
    if node_id and every:
        raise click.UsageError("Give an ID or --all, not both.")
    runtime = node_runtime(scope.cluster)
    if node_id and node_id not in [node["node_id"] for node in runtime.nodes()]:
        raise NodeGone(
            f"There is no replay node {node_id} in {scope.cluster.node.workdir}.",
            hint="`restore-replay node list` shows what there is.",
        )
    if node_id:
        ids = reap_nodes(runtime, node_ids=[node_id], dry_run=dry_run)
    else:
        ids = reap_nodes(
            runtime, cluster=scope.cluster.name, keep_run=_NO_RUN if every else None, dry_run=dry_run
        )
    _tell(scope, ids, dry_run=dry_run)


def _tell(scope: Scope, ids: list[str], *, dry_run: bool) -> None:
    if scope.as_json:
        scope.emit({"would_reap" if dry_run else "reaped": ids})
        return
    verb = "Would remove" if dry_run else "Removed"
    console().print(
        f"{verb} {', '.join(ids)}." if ids else "Nothing to remove.", markup=False, soft_wrap=True
    )


def _row(node: dict[str, Any]) -> list[str]:
    created = node.get("created_at")
    age_s = (utc_now() - datetime.fromisoformat(created)).total_seconds() if created else None
    names = ("node_id", "cluster", "attempt", "phase", "job")
    return [*(str(node.get(name, "")) for name in names), human_seconds(age_s), str(node.get("run", ""))]
