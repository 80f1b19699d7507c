"""The life of replay nodes: create a run's, remove orphaned ones, and what their jobs are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from airflow_restore_replay.core.config.cluster import Cluster
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
    """:returns: what a node's agent needs to run *job*.

    :param key: the same over retries of one task, another after a clear.
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
    """:returns: a node's name, the same for the same *key* (a task over its retries)."""
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
    """Create the run's node; first remove what earlier runs of the cluster left where its nodes live.

    Whoever holds the cluster's lease is its only run: nodes of other runs belong to nobody.

    :param replaces: keys of the same task's earlier nodes: a task that is cleared while its node is in use gets
        a new one, and nobody else knows the old one any more.
    :param release: what :func:`~airflow_restore_replay.core.runtime.images.release_needed` said.
    """
    reap(runtime, cluster=cluster.name, keep_run=run.run)
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
    node_ids: Iterable[str] | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
) -> list[str]:
    """Destroy nodes that belong to nobody.

    :param cluster: only this cluster's nodes.
    :param keep_run: with *cluster*: every node of another run goes; without: only expired ones.
    :param node_ids: exactly these, whatever their age.
    :returns: ids of the destroyed nodes.
    """
    doomed = []
    wanted = set(node_ids) if node_ids is not None else None
    for node in runtime.nodes():
        if cluster is not None and node.get("cluster") != cluster:
            continue
        if wanted is not None:
            chosen = node["node_id"] in wanted
        elif keep_run is not None:
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
