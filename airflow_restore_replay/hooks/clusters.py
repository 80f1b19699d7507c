"""Find the cluster that an operator names, and name its DAGs."""

from __future__ import annotations

import os

from airflow_restore_replay.core.config.cluster import CONFIG_VARIABLE, Cluster, Fleet, load_fleet
from airflow_restore_replay.core.errors import ConfigInvalid


def configured_fleet(config: str | None = None) -> Fleet:
    """Read the cluster file.

    :param config: path of the file, or of a directory of them; default is the variable ``RESTORE_REPLAY_CONFIG``.
    :returns: the clusters without a mistake, and the mistakes of the others.
    :raises ConfigInvalid: no file is configured, it does not exist, or it is no YAML.
    """
    path = config or os.environ.get(CONFIG_VARIABLE)
    if not path:
        raise ConfigInvalid(
            "No cluster file is configured.",
            hint=f"Set {CONFIG_VARIABLE} to the path of the YAML file with your clusters.",
        )
    return load_fleet(path)


def find_cluster(cluster: str | Cluster, config: str | None = None) -> Cluster:
    """Return the cluster that an operator names.

    :param cluster: a cluster, or its name in the cluster file.
    :param config: path of the cluster file; see :func:`configured_fleet`.
    :raises ConfigInvalid: the file has no such cluster, or a mistake in it.
    """
    return cluster if isinstance(cluster, Cluster) else configured_fleet(config).cluster(cluster)


def default_dag_id(cluster: Cluster | str) -> str:
    """Return the default id of a cluster's DAG, also if the cluster has a mistake.

    :param cluster: a cluster, or its name.
    """
    return f"restore_replay_{cluster if isinstance(cluster, str) else cluster.name}"


def default_drill_dag_id(cluster: Cluster | str) -> str:
    """Return the default id of a cluster's drill DAG; see :func:`default_dag_id`."""
    return f"restore_drill_{cluster if isinstance(cluster, str) else cluster.name}"
