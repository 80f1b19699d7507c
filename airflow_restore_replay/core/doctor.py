"""Every precondition of a cycle, asked without running one."""

from __future__ import annotations

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.flavor.examination import Finding
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.runtime.base import get_runtime


def examine(cluster: Cluster, secrets: Secrets) -> list[Finding]:
    """Ask for what a cycle insists on before it fills a node: the same list, where its node would live.

    :returns: findings; that the primary lets us in is the first.
    """
    return get_runtime(cluster).examine(cluster, secrets)
