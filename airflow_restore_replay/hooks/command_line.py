"""Airflow connections for the command line, which is no task: they are read as Airflow's own commands read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.errors import ConfigInvalid, RestoreReplayError
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.repository.repository import Repository
from airflow_restore_replay.core.runtime.base import NodeAccess
from airflow_restore_replay.hooks.replay_node import ReplayNodeHook
from airflow_restore_replay.hooks.repository import RepositoryHook

#: Airflow's process that this one reads connections like: from the environment, secrets backends and the database
_PROCESS, _SERVER = "_AIRFLOW_PROCESS_CONTEXT", "server"


def resolved(cluster: Cluster) -> tuple[Cluster, Secrets, NodeAccess]:
    """Return *cluster* with the values of its connections, its secrets, and the access to its nodes.

    :raises ConfigInvalid: there is no such connection, or it does not have what it should.
    """
    with _connections(cluster):
        hook = ReplayNodeHook(cluster)
        return hook.cluster, hook.secrets(), hook.access


def to_restore(cluster: Cluster) -> tuple[Cluster, Secrets, NodeAccess]:
    """Return what :func:`resolved` does, but without the primary's connection, which a restore does not need."""
    without = msgspec.structs.replace(
        cluster, primary=msgspec.structs.replace(cluster.primary, connection=None)
    )
    with _connections(cluster):
        hook = ReplayNodeHook(without)
        return hook.cluster, hook.repository_secrets(), hook.access


def repository(cluster: Cluster, *, write: bool) -> Repository:
    """Open the repository of *cluster*; see :func:`resolved`."""
    with _connections(cluster):
        return RepositoryHook(cluster).open(write=write)


def keys(cluster: Cluster) -> tuple[str, ...]:
    """Return the encryption keys of *cluster*; see :func:`resolved`."""
    with _connections(cluster):
        return RepositoryHook(cluster).keys()


@contextmanager
def _connections(cluster: Cluster) -> Iterator[None]:
    before = os.environ.get(_PROCESS)
    os.environ[_PROCESS] = _SERVER
    try:
        yield
    except RestoreReplayError:
        raise
    except Exception as exc:
        # Airflow has no common class for a connection that is not there, and a database that it cannot ask.
        raise ConfigInvalid(
            f"Airflow does not resolve a connection of clusters.{cluster.name}: {type(exc).__name__}: {exc}",
            hint="`airflow connections list` shows which there are. Set AIRFLOW_HOME and Airflow's other variables as "
            "for its services, or AIRFLOW_CONN_<ID>.",
        ) from exc
    finally:
        os.environ.pop(_PROCESS) if before is None else os.environ.update({_PROCESS: before})
