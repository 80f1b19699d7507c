"""The steps of a cycle that both the command line and the operators take, with nothing of either in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_restore_replay.core.config.cluster import Cluster, cluster_to_builtins
from airflow_restore_replay.core.errors import NoSuchBackup
from airflow_restore_replay.core.jobs.protocol import (
    JobName,
    JobRequest,
    NodeHandle,
    NodeRequest,
    RunRef,
    Secrets,
)
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Verdict
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.sharing import backups_sharing
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
        cluster=cluster_to_builtins(cluster),
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
    request = NodeRequest(node_id=node_id, run=run, cluster=cluster_to_builtins(cluster), release=release)
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


def damaged_contents(verdict: Verdict) -> list[str]:
    """:returns: what the verdict's evidence names: the key of a stored content, or the name of a list object."""
    evidence = verdict.failure.evidence if verdict.failure else {}
    chunk, record = evidence.get("chunk"), str(evidence.get("record", ""))
    if isinstance(chunk, str):
        return [chunk]
    return [record] if record.startswith(("files/", "lists/")) else []


def quarantine_shared(repository: Repository, catalog: Catalog, verdict: Verdict) -> list[Verdict]:
    """Quarantine the other backups that share the damage that *verdict* names; idempotent.

    :returns: the verdicts recorded now.
    """
    shared = backups_sharing(repository, damaged_contents(verdict))
    recorded = []
    for ref, backup_ids in shared.items():
        for backup_id in backup_ids:
            known = catalog.backup(backup_id)
            if backup_id == verdict.backup_id or known.state is BackupState.QUARANTINED:
                continue
            new = repository.new_verdict(
                Outcome.QUARANTINED,
                verdict.run,
                attempt=verdict.attempt,
                backup_id=backup_id,
                failure=verdict.failure,
                by="shared damage",
                reason=f"shares the damaged {ref} with backup {verdict.backup_id}",
            )
            repository.record(new)
            recorded.append(new)
    return recorded


def quarantine_by_hand(repository: Repository, backup_id: str, *, run: str, by: str, reason: str) -> Verdict:
    """Quarantine a backup for a person's reason."""
    repository.catalog().backup(backup_id)
    verdict = repository.new_verdict(Outcome.QUARANTINED, run, backup_id=backup_id, by=by, reason=reason)
    repository.record(verdict)
    return verdict


def release_hold(repository: Repository, verdict_id: str, *, by: str, reason: str) -> Verdict:
    """Let a cluster publish again, by a new verdict.

    :raises NoSuchBackup: no such hold stands.
    """
    standing = [hold.verdict_id for hold in repository.catalog().held_by]
    if verdict_id not in standing:
        raise NoSuchBackup(
            f"No hold {verdict_id} stands; there is nothing to release.",
            hint=f"Standing: {', '.join(standing) or 'none'}.",
        )
    verdict = repository.new_verdict(
        Outcome.WITHDRAWN, "by hand", withdraws=[verdict_id], by=by, reason=reason
    )
    repository.record(verdict)
    return verdict


def release(repository: Repository, backup_id: str, *, by: str, reason: str) -> Verdict:
    """Withdraw all that stands against a backup, by a new verdict.

    :raises NoSuchBackup: there is no such backup, or nothing stands against it.
    """
    standing: Sequence[Verdict] = repository.catalog().backup(backup_id).against
    if not standing:
        raise NoSuchBackup(
            f"Nothing stands against backup {backup_id}; there is nothing to release.",
            hint="`restore-replay show` lists its verdicts.",
        )
    verdict = repository.new_verdict(
        Outcome.WITHDRAWN,
        "by hand",
        backup_id=backup_id,
        withdraws=[v.verdict_id for v in standing],
        by=by,
        reason=reason,
    )
    repository.record(verdict)
    return verdict
