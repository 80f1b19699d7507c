"""A cluster's repository, opened with the credentials of an Airflow connection or of the environment."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
from airflow.sdk import BaseHook

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.encryption_keys import parse_key
from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import ConfigInvalid, RestoreReplayError
from airflow_restore_replay.hooks.store_connections import (
    REPOSITORY_CONN_TYPE,
    connection_credentials,
    kms_access,
    mask,
)

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_restore_replay.core.repository.repository import Repository

_KEY_FIELD = "encryption_key"


class RepositoryHook(BaseHook):
    """Hook that opens the repository of one cluster.

    :param cluster: its ``repository.connection`` names a connection of the type ``restore_replay_repository``, or
        one of the Amazon, Azure or Google provider (``aws``, ``wasb``, ``google_cloud_platform``). Its login,
        password and extra are the credentials, including a role to assume. Without a connection, the credentials
        come from the environment. Those providers need not be installed.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster

    @cached_property
    def _connection(self) -> Connection | None:
        conn_id = self.cluster.repository.connection
        return self.get_connection(conn_id) if conn_id else None

    @cached_property
    def resolved(self) -> RepositorySpec:
        """Return the repository's settings, with the URL of its connection if the cluster file has none.

        :raises ConfigInvalid: the connection has no URL either.
        """
        spec, conn = self.cluster.repository, self._connection
        if spec.url or conn is None:
            return spec
        url = conn.extra_dejson.get("url") if conn.conn_type == REPOSITORY_CONN_TYPE else None
        if not url:
            raise ConfigInvalid(
                f"Neither clusters.{self.cluster.name}.repository nor connection {spec.connection!r} has a URL.",
                hint=f"Give one of them a url; the connection's type must be {REPOSITORY_CONN_TYPE}.",
            )
        try:
            return msgspec.structs.replace(spec, url=str(url))
        except ValueError as exc:
            raise ConfigInvalid(f"clusters.{self.cluster.name}.repository: {exc}.") from exc

    def credentials(self) -> dict[str, str]:
        """Return the store's configuration from the connection; empty without a connection.

        :raises ConfigInvalid: the connection relies on a setting that only its provider can resolve.
        """
        conn = self._connection
        if conn is None:
            return {}
        found = connection_credentials(conn, self.resolved.url)
        # Options of the cluster file take precedence over the connection's extra.
        given = self.cluster.repository.options.given()
        return {key: value for key, value in found.items() if key not in given}

    def keys(self) -> tuple[str, ...]:
        """Return the repository's encryption keys, the active one first; masked in logs.

        The result is empty if neither the cluster file nor the repository's own connection has a key.

        :raises ConfigInvalid: the source of a key does not exist, or holds no key.
        :raises KeyRefused: a KMS refuses to unwrap a key.
        :raises KeySourceFailed: a command that should print a key failed, or a KMS did not answer.
        """
        keys = self.key_reader()()
        mask(*keys)
        return keys

    def key_reader(self) -> Callable[[], tuple[str, ...]]:
        """Resolve the connections that keys need, and return what then reads the keys without asking Airflow.

        :raises ConfigInvalid: a connection does not have what it should.
        """
        encryption = self.cluster.repository.encryption
        if encryption is None:
            keys = connection_keys(self._connection) if self._connection else ()
            return lambda: keys
        texts: dict[str, str] = {}
        access: dict[str, dict[str, str]] = {}
        for source in encryption.sources:
            if source.connection:
                texts[source.connection] = _key_of(self.get_connection(source.connection))
            if source.kms and source.kms.connection:
                access[source.kms.connection] = kms_access(self.get_connection(source.kms.connection))
        cluster = msgspec.structs.replace(self.cluster, repository=self.resolved)
        credentials = self.credentials()

        def read() -> tuple[str, ...]:
            from airflow_restore_replay.core.repository.key_sources import read_repository_keys

            return read_repository_keys(
                cluster, credentials=credentials, connection=texts.__getitem__, access=access.__getitem__
            )

        return read

    def open(self, *, write: bool = False) -> Repository:
        """Open the repository.

        :param write: create the repository if it does not exist, and check that the store is safe to write to.
        """
        from airflow_restore_replay.core.repository.repository import Repository

        cluster = msgspec.structs.replace(self.cluster, repository=self.resolved)
        return Repository.of_cluster(cluster, credentials=self.credentials(), keys=self.keys(), write=write)

    def test_connection(self) -> tuple[bool, str]:
        """Read the catalog.

        :returns: whether that works; then how many backups it has, and how many are healthy, else the error.
        """
        try:
            catalog = self.open().catalog()
        except RestoreReplayError as exc:
            return False, str(exc)
        return True, f"{len(catalog.backups)} backups, {len(catalog.healthy())} of them healthy and proven."


def connection_keys(conn: Connection) -> tuple[str, ...]:
    """Return the encryption key that a repository connection holds, if any; masked in logs.

    :raises ConfigInvalid: the connection's field holds no key.
    """
    held = conn.conn_type == REPOSITORY_CONN_TYPE and conn.extra_dejson.get(_KEY_FIELD)
    return (parse_key(_key_of(conn), f"connection {conn.conn_id}"),) if held else ()


def _key_of(conn: Connection) -> str:
    """Return the text that should be a key: the field of a repository connection, the password of any other."""
    own = conn.conn_type == REPOSITORY_CONN_TYPE
    text = str((conn.extra_dejson.get(_KEY_FIELD) if own else conn.password) or "")
    mask(text)
    return text
