"""The options that commands share: ``--config``, ``--cluster``, ``--group`` and ``--json``, and what they select."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import click

from airflow_restore_replay.cli.connections import Connected, connected, open_repository
from airflow_restore_replay.cli.output import JSON_KEY, emit_json
from airflow_restore_replay.core.config.cluster import CONFIG_VARIABLE, Cluster, Group, load_fleet
from airflow_restore_replay.core.errors import ConfigInvalid, RestoreReplayError
from airflow_restore_replay.core.repository.repository import Repository

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Scope:
    """Cluster of a command, and the form of its answer.

    :param cluster: as the cluster file has it; :attr:`connected` has what its Airflow connections hold.
    :param as_json: one JSON document on stdout instead of text for people.
    """

    cluster: Cluster
    as_json: bool

    @cached_property
    def connected(self) -> Connected:
        """Return the cluster with its connections resolved, and the secrets that it needs.

        :raises ConfigInvalid: a source is missing, or a connection is named and Airflow is not installed.
        """
        return connected(self.cluster)

    def repository(self, *, write: bool = False) -> Repository:
        """Open the cluster's repository; without a connection, credentials come from the environment."""
        return open_repository(self.cluster, write=write)

    def emit(self, document: Any) -> None:
        """Print *document* as the command's JSON answer."""
        emit_json(document)


@dataclass(frozen=True)
class GroupScope:
    """Group of clusters of a command, and the form of its answer.

    :param members: the clusters, in the order of the group.
    :param lacking: members that the file does not have, or that have a mistake → why.
    """

    group: Group
    members: tuple[Cluster, ...]
    lacking: Mapping[str, RestoreReplayError]
    as_json: bool

    def scopes(self) -> list[Scope]:
        """Return the scopes of the members."""
        return [Scope(cluster, self.as_json) for cluster in self.members]

    def emit(self, document: Any) -> None:
        """Print *document* as the command's JSON answer."""
        emit_json(document)

    def refuse_lacking(self) -> None:
        """Raise if a member is missing.

        :raises ConfigInvalid: names all that are.
        """
        if self.lacking:
            why = "; ".join(f"{name}: {exc.message}" for name, exc in self.lacking.items())
            hint = next(iter(self.lacking.values())).hint
            raise ConfigInvalid(f"The group {self.group.name} is not complete: {why}", hint=hint)


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
    return config_option(_cluster_option(json_option(run)))  # type: ignore[return-value]


def scoped_or_grouped(of_group: Callable[..., Any]) -> Callable[[Command], Command]:
    """Add the shared options and ``--group`` to a command.

    :param of_group: called instead of the command if a group is named, with a :class:`GroupScope` as ``scope``.
    """

    def decorate(command: Command) -> Command:
        def run(config: str, cluster: str | None, group: str | None, as_json: bool, **options: Any) -> Any:
            if group is None:
                return command(scope=Scope(choose_cluster(config, cluster), as_json), **options)
            if cluster is not None:
                raise click.UsageError("--cluster and --group exclude each other.")
            return of_group(scope=choose_group(config, group, as_json=as_json), **options)

        run.__doc__ = command.__doc__
        run.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
        option = click.option("--group", metavar="NAME", help="All clusters of a group of the file.")
        return config_option(_cluster_option(option(json_option(run))))  # type: ignore[return-value]

    return decorate


def config_option(command: Command) -> Command:
    """Add ``--config`` to a command."""
    return click.option(
        "--config",
        envvar=CONFIG_VARIABLE,
        # A message about its lack names the variable, too.
        show_envvar=True,
        required=True,
        metavar="PATH",
        help="Cluster file, or a directory of them.",
    )(command)


def json_option(command: Command) -> Command:
    """Add ``--json`` to a command, which receives it as ``as_json``."""
    return click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=_remember_json, help="Answer in JSON."
    )(command)


def _cluster_option(command: Command) -> Command:
    return click.option(
        "--cluster", metavar="NAME", help="Cluster of the file; optional if the file has only one."
    )(command)


def _remember_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    # Errors are shown by the group, which does not see this option.
    ctx.meta[JSON_KEY] = value
    return value


def choose_cluster(config: str, name: str | None) -> Cluster:
    """Return the cluster *name* of a file, or its only one.

    :raises ConfigInvalid: there is no such cluster, or a mistake in it; mistakes in others do not matter.
    """
    fleet = load_fleet(config)
    if name is not None:
        return fleet.cluster(name)
    if len(fleet.names) == 1:
        return fleet.cluster(fleet.names[0])
    if not fleet.names:
        fleet.refuse_mistakes()
    known = ", ".join(fleet.names) or "none"
    raise ConfigInvalid(f"{config} has several clusters ({known}).", hint="Name one with --cluster.")


def choose_group(config: str, name: str, *, as_json: bool) -> GroupScope:
    """Return a group of a file, with the members that it lacks.

    :raises ConfigInvalid: there is no such group, or a mistake in it.
    """
    fleet = load_fleet(config)
    group = fleet.group(name)
    members, lacking = [], {}
    for member in group.clusters:
        try:
            members.append(fleet.cluster(member))
        except ConfigInvalid as exc:
            lacking[member] = exc
    return GroupScope(group, tuple(members), lacking, as_json)
