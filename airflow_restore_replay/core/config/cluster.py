"""The cluster file: the YAML configuration of the protected clusters, and its validation.

Unknown keys, wrong types and values out of range are refused before anything starts, with the path of the key and the
allowed values. :func:`load_clusters` refuses the whole file, :func:`load_fleet` only the clusters that are wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_restore_replay.core.config.cluster_section import Cluster, Group
from airflow_restore_replay.core.config.fleet import Fleet
from airflow_restore_replay.core.config.mistakes import Mistake
from airflow_restore_replay.core.config.reading import load_fleet, parse_fleet

__all__ = [
    "CONFIG_VARIABLE",
    "Cluster",
    "Fleet",
    "Group",
    "Mistake",
    "load_clusters",
    "load_fleet",
    "parse_clusters",
]

#: environment variable that names the cluster file, or a directory of them
CONFIG_VARIABLE = "RESTORE_REPLAY_CONFIG"


def load_clusters(path: str | Path) -> dict[str, Cluster]:
    """Read the cluster file, or a directory of them.

    Commands for several clusters use :func:`load_fleet`, so that a mistake in one cluster does not stop another.

    :param path: YAML file, or directory of them.
    :returns: clusters by name, with ``name`` set in each.
    :raises ConfigInvalid: any of it is not valid; the message names the key and what is allowed there.
    """
    fleet = load_fleet(path)
    fleet.refuse_mistakes()
    return fleet.clusters


def parse_clusters(raw: Any, *, source: str = "configuration") -> dict[str, Cluster]:
    """Validate a parsed cluster file; see :func:`load_clusters`."""
    fleet = parse_fleet(raw, source)
    fleet.refuse_mistakes()
    return fleet.clusters
