"""The clusters that `status` and `metrics` are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from airflow_restore_replay.cli.connections import open_repository
from airflow_restore_replay.cli.scope import config_option
from airflow_restore_replay.core.config.cluster import Cluster, load_fleet
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.fleet.fleet import Fleet
from airflow_restore_replay.core.fleet.recent import remembering

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

    def fleet(self, *, limit_s: float, everything: bool) -> Fleet:
        """Return what evaluates them; see :class:`Fleet`."""
        return Fleet(
            self.clusters,
            mistaken=self.mistaken,
            limit_s=limit_s,
            everything=everything,
            opener=lambda cluster: remembering(open_repository(cluster)),
        )


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


def interval_option(least_s: float, default_s: float, again: str) -> Callable[[Command], Command]:
    """Return the option ``--interval``, the pause between two evaluations of the option *again*."""
    return click.option(
        "--interval",
        type=click.FloatRange(min=least_s),
        default=default_s,
        show_default=True,
        metavar="SECONDS",
        help=f"Pause between two evaluations of {again}.",
    )


def chosen_clusters(config: str, name: str | None) -> Chosen:
    """Return the clusters of a configuration, or the one that is named.

    :raises ConfigInvalid: there is none, or none of that name, or the one that is named has a mistake.
    """
    configured = load_fleet(config)
    if name is not None:
        return Chosen([configured.cluster(name)], {})
    chosen = Chosen([*configured.clusters.values()], configured.mistaken)
    if not chosen.clusters and not chosen.mistaken:
        configured.refuse_mistakes()
        raise ConfigInvalid(f"{config} has no cluster.")
    return chosen
