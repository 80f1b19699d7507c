"""What a cluster's Airflow connections hold, for the command line: resolved by Airflow where it is installed.

The command line never imports Airflow for a cluster without connections. ``hooks.command_line`` is imported by name, so
that neither the base install nor the layers depend on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import msgspec

from airflow_restore_replay.cli.output import echo
from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.sections import primary_password
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.repository.key_sources import read_repository_keys
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.repository.store.environment import credentials_of_environment
from airflow_restore_replay.core.runtime.base import NO_ACCESS, NodeAccess, Runtime

_BY_AIRFLOW = "airflow_restore_replay.hooks.command_line"

_REPOSITORY_KEYS = "repository.encryption"

#: key of a connection → what to give instead
_INSTEAD = {
    "primary.connection": "primary.host, port, user and password_file",
    "repository.connection": "repository.url, and the credentials in the environment",
    "node.connection": "the keys of node that it has, such as workdir, or host, user and key_file",
    _REPOSITORY_KEYS: "file, command or env as the source of the key",
}


@dataclass(frozen=True)
class Connected:
    """A cluster without connections that are not resolved.

    :param secrets: the primary's password, the store's credentials and the encryption keys.
    :param access: to the host or engine of nodes.
    """

    cluster: Cluster
    secrets: Secrets
    access: NodeAccess = NO_ACCESS

    def runtime(self) -> Runtime:
        """Return where its nodes live."""
        from airflow_restore_replay.core.runtime.opening import get_runtime

        return get_runtime(self.cluster, self.access)


def connected(cluster: Cluster) -> Connected:
    """Resolve all connections of a cluster.

    :raises ConfigInvalid: a source is missing, or a connection is named and Airflow is not installed.
    """
    if named := _named(cluster):
        return Connected(*_ask_airflow(cluster, named, lambda air: air.resolved(cluster)))
    secrets = Secrets(primary_password=primary_password(cluster.primary), keys=read_repository_keys(cluster))
    return Connected(cluster, secrets)


def connected_to_restore(cluster: Cluster) -> Connected:
    """Resolve the connections that a restore on a node needs: not the primary's, which may be gone with its password.

    Credentials for the store that no connection has are the environment's; see :func:`open_repository`.

    :raises ConfigInvalid: see :func:`connected`.
    """
    found, secrets, access = cluster, Secrets(), NO_ACCESS
    if named := {key: name for key, name in _named(cluster).items() if not key.startswith("primary.")}:
        try:
            found, secrets, access = _ask_airflow(cluster, named, lambda air: air.to_restore(cluster))
        except ConfigInvalid as exc:
            if cluster.node.connection:
                raise
            _refuse_without_environment(cluster, exc)
    store = secrets.store or credentials_of_environment(found.repository.url)
    keys = secrets.keys or read_repository_keys(cluster)
    return Connected(found, msgspec.structs.replace(secrets, store=store, keys=keys), access)


def node_runtime(cluster: Cluster) -> Runtime:
    """Return where the nodes of a cluster live; other connections than that of its nodes are not asked for."""
    if cluster.node.connection:
        return connected(cluster).runtime()
    from airflow_restore_replay.core.runtime.opening import get_runtime

    return get_runtime(cluster)


def open_repository(cluster: Cluster, *, write: bool = False) -> Repository:
    """Open a cluster's repository; other connections than its own are not asked for.

    If Airflow does not resolve the connection of a repository that has a URL, the credentials are the environment's: a
    restore must work while Airflow is down, and on hosts without it.
    """
    if named := _named_by_repository(cluster):
        try:
            opened: Repository = _ask_airflow(
                cluster, named, lambda air: air.repository(cluster, write=write)
            )
            return opened
        except ConfigInvalid as exc:
            _refuse_without_environment(cluster, exc)
    return Repository.of_cluster(cluster, keys=read_repository_keys(cluster), write=write)


def repository_keys(cluster: Cluster) -> tuple[str, ...]:
    """Return the encryption keys of a cluster's repository; see :func:`open_repository`."""
    if named := _named_by_repository(cluster):
        try:
            keys: tuple[str, ...] = _ask_airflow(cluster, named, lambda air: air.keys(cluster))
            return keys
        except ConfigInvalid as exc:
            _refuse_without_environment(cluster, exc)
    return read_repository_keys(cluster)


def _refuse_without_environment(cluster: Cluster, exc: ConfigInvalid) -> None:
    """Raise *exc* unless the environment may have what the repository needs."""
    if not cluster.repository.url or _REPOSITORY_KEYS in _named(cluster):
        raise exc
    if find_spec("airflow") is not None:
        echo(f"Warning: {exc.message} The credentials of the environment are used.", err=True)


def _named(cluster: Cluster) -> dict[str, str]:
    """Return the connections that a cluster names, by the key that names them."""
    encryption = cluster.repository.encryption
    sources = encryption.sources if encryption else []
    given = {
        "primary.connection": cluster.primary.connection,
        "repository.connection": cluster.repository.connection,
        "node.connection": cluster.node.connection,
        _REPOSITORY_KEYS: next((source.connection for source in sources if source.connection), None),
    }
    return {key: name for key, name in given.items() if name}


def _named_by_repository(cluster: Cluster) -> dict[str, str]:
    return {key: name for key, name in _named(cluster).items() if key.startswith("repository.")}


def _ask_airflow(cluster: Cluster, named: dict[str, str], question: Callable[[Any], Any]) -> Any:
    """Ask the module that resolves connections.

    :param named: the connections that are needed, by the key that names them.
    :raises ConfigInvalid: Airflow is not installed, or does not resolve one.
    """
    key, name = next(iter(named.items()))
    if find_spec("airflow") is None:
        raise ConfigInvalid(
            f"clusters.{cluster.name}.{key}: only Airflow can resolve the connection {name!r}, and it is not installed "
            "here.",
            hint=f"Run the command where Airflow is installed, or give {_INSTEAD[key]} in the cluster file.",
        )
    # Airflow logs to standard output, which is for the command's answer.
    with redirect_stdout(sys.stderr):
        return question(import_module(_BY_AIRFLOW))
