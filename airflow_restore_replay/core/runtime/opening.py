"""Open the runtime that a cluster names."""

from __future__ import annotations

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.runtime.base import NO_ACCESS, NodeAccess, Runtime


def get_runtime(cluster: Cluster, access: NodeAccess = NO_ACCESS) -> Runtime:
    """Return the runtime that the cluster's ``node.runtime`` names; it connects at its first use.

    :raises PreflightFailed: an optional package that it needs is not installed.
    """
    if cluster.node.runtime == "ssh":
        from airflow_restore_replay.core.runtime.ssh import ssh_runtime

        return ssh_runtime(cluster.node, access)
    if cluster.node.runtime == "docker":
        from airflow_restore_replay.core.runtime.docker import DockerRuntime

        return DockerRuntime(cluster, access)
    from airflow_restore_replay.core.runtime.process import ProcessRuntime

    return ProcessRuntime(cluster.node.workdir)
