"""The clusters that `status` and `metrics` are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from airflow_restore_replay.cli.scope import config_option
from airflow_restore_replay.core.config.cluster import Cluster, load_fleet
from airflow_restore_replay.core.errors import ConfigInvalid

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Chosen:
    """Clusters of the cluster file.

    :param mistaken: cluster → its mistake, which keeps it from being evaluated.
    """

    clusters: list[Cluster]
    mistaken: dict[str, ConfigInvalid]

    @property
    def one(self) -> bool:
        return len(self.clusters) + len(self.mistaken) == 1


def fleet_options(command: Command) -> Command:
    """Add ``--config``, ``--cluster`` and ``--limit``."""
    limit = click.option(
        "--limit",
        type=click.FloatRange(min=0.1),
        default=20.0,
        show_default=True,
        metavar="SECONDS",
        help="Time that each cluster's store has.",
    )
    cluster = click.option("--cluster", metavar="NAME", help="Only this cluster of the file.")
    return config_option(cluster(limit(command)))


def chosen_clusters(config: str, name: str | None) -> Chosen:
    """Return the clusters of a configuration, or the one that is named.

    :raises ConfigInvalid: there is none, or none of that name, or the one that is named has a mistake.
    """
    fleet = load_fleet(config)
    if name is not None:
        return Chosen([fleet.cluster(name)], {})
    mistaken = {}
    for found in fleet.names:
        if found not in fleet.clusters:
            try:
                fleet.cluster(found)
            except ConfigInvalid as exc:
                mistaken[found] = exc
    if not fleet.clusters and not mistaken:
        fleet.refuse_mistakes()
        raise ConfigInvalid(f"{config} has no cluster.")
    return Chosen([*fleet.clusters.values()], mistaken)
