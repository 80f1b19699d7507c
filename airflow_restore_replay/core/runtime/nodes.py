"""The life of replay nodes: create the node of a run, build the requests for its jobs, and reap orphaned nodes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.decisions.attempts import RECOVERY
from airflow_restore_replay.core.jobs.protocol import (
    JobName,
    JobRequest,
    NodeHandle,
    NodeRequest,
    RunRef,
    Secrets,
)
from airflow_restore_replay.core.runtime.base import Runtime


def job_request(
    cluster: Cluster,
    run: RunRef,
    job: JobName | str,
    *,
    key: str,
    params: dict[str, Any] | None = None,
    secrets: Secrets | None = None,
) -> JobRequest:
    """Return the request for a node's agent to run *job*.

    :param key: job key: the same over retries of a task, and new after a clear.
    """
    return JobRequest(
        key=key,
        job=JobName(job),
        run=run,
        cluster=cluster,
        params=params or {},
        secrets=secrets or Secrets(),
    )


def node_id_for(cluster: str, key: str) -> str:
    """Return the id of a node, which is the same for the same *key* (a task over its retries)."""
    return f"{cluster}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def create_node(
    runtime: Runtime,
    cluster: Cluster,
    run: RunRef,
    *,
    key: str,
    replaces: Iterable[str] = (),
    release: str = "",
) -> NodeHandle:
    """Create the run's node, after reaping the nodes that earlier runs of the cluster left.

    The holder of the cluster's lease is its only run, so nodes of other runs are orphaned. Nodes of restores and
    drills are not its runs'.

    :param replaces: keys of earlier nodes of the same task. A task that is cleared while its node is in use gets a new
        node, and only these keys still lead to the old one.
    :param release: result of :func:`~airflow_restore_replay.core.runtime.images.release_needed`.
    """
    reap(runtime, cluster=cluster.name, keep_run=run.run, keep_restores=True)
    if earlier := [node_id_for(cluster.name, old) for old in replaces]:
        reap(runtime, cluster=cluster.name, node_ids=earlier)
    node_id = node_id_for(cluster.name, key)
    request = NodeRequest(node_id=node_id, run=run, cluster=cluster, release=release)
    return runtime.create(request)


def reap(
    runtime: Runtime,
    *,
    cluster: str | None = None,
    keep_run: str | None = None,
    keep_restores: bool = False,
    node_ids: Iterable[str] | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
) -> list[str]:
    """Destroy orphaned nodes.

    :param cluster: only this cluster's nodes.
    :param keep_run: destroy all nodes of other runs of *cluster*. Without it, destroy expired nodes.
    :param keep_restores: of restores and drills, which hold no lease, destroy expired nodes only.
    :param node_ids: destroy exactly these, of any age.
    :param dry_run: destroy nothing.
    :returns: ids of the destroyed nodes, or with *dry_run* of those that would be destroyed.
    :raises ValueError: *keep_run* without *cluster*. A run excludes only the runs of its own cluster, so nodes of other
        clusters may be in use.
    """
    if keep_run is not None and cluster is None:
        raise ValueError("reap(keep_run=…) needs a cluster.")
    doomed = []
    wanted = set(node_ids) if node_ids is not None else None
    for node in runtime.nodes():
        if cluster is not None and node.get("cluster") != cluster:
            continue
        if wanted is not None:
            chosen = node["node_id"] in wanted
        elif keep_run is not None and not (keep_restores and node.get("attempt") == RECOVERY):
            chosen = node.get("run") != keep_run
        else:
            chosen = _expired(node, now or datetime.now(UTC))
        if chosen:
            doomed.append(node)
    for node in doomed if not dry_run else []:
        runtime.destroy(_handle(runtime, node))
    return [str(node["node_id"]) for node in doomed]


def _expired(node: dict[str, Any], now: datetime) -> bool:
    expires_at = node.get("expires_at")
    return expires_at is None or datetime.fromisoformat(expires_at) < now


def _handle(runtime: Runtime, node: dict[str, Any]) -> NodeHandle:
    return NodeHandle(
        node_id=str(node["node_id"]),
        runtime=runtime.name,
        cluster=str(node.get("cluster", "")),
        workdir=str(node["workdir"]),
        host=str(node["host"]),
    )
