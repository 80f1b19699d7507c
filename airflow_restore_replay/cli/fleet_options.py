"""The clusters that `status` and `metrics` are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from airflow_restore_replay.cli.output import JSON_KEY
from airflow_restore_replay.core.config.cluster import CONFIG_VARIABLE, Cluster, load_clusters
from airflow_restore_replay.core.errors import ConfigInvalid

Command = TypeVar("Command", bound=Callable[..., Any])


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
    config = click.option(
        "--config",
        envvar=CONFIG_VARIABLE,
        required=True,
        metavar="FILE",
        help=f"Cluster file; default: ${CONFIG_VARIABLE}.",
    )
    return config(cluster(limit(command)))


def remember_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    """Let the group show errors as JSON, too, which does not see this option."""
    ctx.meta[JSON_KEY] = value
    return value


def chosen_clusters(config: str, name: str | None) -> list[Cluster]:
    """Return the clusters of a file, or the one that is named.

    :raises ConfigInvalid: there is none, or none of that name.
    """
    clusters = load_clusters(config)
    if name is not None and name not in clusters:
        raise ConfigInvalid(
            f"{config} has no cluster {name!r}; it has: {', '.join(sorted(clusters)) or 'none'}."
        )
    chosen = [cluster for cluster in clusters.values() if name in (None, cluster.name)]
    if not chosen:
        raise ConfigInvalid(f"{config} has no cluster.")
    return chosen
