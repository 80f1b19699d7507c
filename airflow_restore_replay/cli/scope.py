"""The options that all commands share, ``--config``, ``--cluster`` and ``--json``, and the cluster they select."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from airflow_restore_replay.cli.output import JSON_KEY, emit_json
from airflow_restore_replay.core.config.cluster import CONFIG_VARIABLE, Cluster, load_clusters
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.repository.key_sources import read_repository_keys
from airflow_restore_replay.core.repository.repository import Repository

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Scope:
    """Cluster of a command, and the form of its answer.

    :param as_json: one JSON document on stdout instead of text for people.
    """

    cluster: Cluster
    as_json: bool

    def repository(self, *, write: bool = False) -> Repository:
        """Open the cluster's repository; the object store's credentials come from the environment."""
        keys = read_repository_keys(self.cluster)
        return Repository.of_cluster(self.cluster, keys=keys, write=write)

    def emit(self, document: Any) -> None:
        """Print *document* as the command's JSON answer."""
        emit_json(document)


def person() -> str:
    """Return who runs the command, as ``user@host`` for records."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no passwd entry, as in some containers
        user = str(os.getuid())
    return f"{user}@{platform.node()}"


def scoped(command: Command) -> Command:
    """Add the shared options to a command, which receives a :class:`Scope` as ``scope``."""

    def run(config: str, cluster: str | None, as_json: bool, **options: Any) -> Any:
        return command(scope=Scope(choose_cluster(config, cluster), as_json), **options)

    run.__doc__ = command.__doc__
    run.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    json_option = click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=_remember_json, help="Answer in JSON."
    )
    cluster_option = click.option(
        "--cluster", metavar="NAME", help="Cluster of the file; optional if the file has only one."
    )
    config_option = click.option(
        "--config",
        envvar=CONFIG_VARIABLE,
        required=True,
        metavar="FILE",
        help=f"Cluster file; default: ${CONFIG_VARIABLE}.",
    )
    return config_option(cluster_option(json_option(run)))  # type: ignore[return-value]


def _remember_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    # Errors are shown by the group, which does not see this option.
    ctx.meta[JSON_KEY] = value
    return value


def choose_cluster(config: str, name: str | None) -> Cluster:
    """Return the cluster *name* of a file, or its only one."""
    clusters = load_clusters(config)
    if name is None and len(clusters) == 1:
        return next(iter(clusters.values()))
    known = ", ".join(sorted(clusters)) or "none"
    if name is None:
        raise ConfigInvalid(f"{config} has several clusters ({known}).", hint="Name one with --cluster.")
    if name not in clusters:
        raise ConfigInvalid(f"{config} has no cluster {name!r}; it has: {known}.")
    return clusters[name]
