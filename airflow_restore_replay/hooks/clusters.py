"""Find the cluster that an operator names."""

from __future__ import annotations

import os

from airflow_restore_replay.core.config.cluster import CONFIG_VARIABLE, Cluster, load_clusters
from airflow_restore_replay.core.errors import ConfigInvalid


def configured_clusters(config: str | None = None) -> dict[str, Cluster]:
    """Read the cluster file.

    :param config: path of the file; default is the variable ``RESTORE_REPLAY_CONFIG``.
    :raises ConfigInvalid: no file is configured, the file does not exist, or one of its keys is wrong.
    """
    path = config or os.environ.get(CONFIG_VARIABLE)
    if not path:
        raise ConfigInvalid(
            "No cluster file is configured.",
            hint=f"Set {CONFIG_VARIABLE} to the path of the YAML file with your clusters.",
        )
    return load_clusters(path)


def find_cluster(cluster: str | Cluster, config: str | None = None) -> Cluster:
    """Return the cluster that an operator names.

    :param cluster: a cluster, or its name in the cluster file.
    :param config: path of the cluster file; see :func:`configured_clusters`.
    :raises ConfigInvalid: the file has no such cluster.
    """
    if isinstance(cluster, Cluster):
        return cluster
    clusters = configured_clusters(config)
    if cluster not in clusters:
        raise ConfigInvalid(
            f"There is no cluster {cluster!r} in the cluster file; it has: {', '.join(sorted(clusters))}."
        )
    return clusters[cluster]
