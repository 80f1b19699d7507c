"""A cluster's repository, opened with the credentials of an Airflow connection or of the environment."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.sdk import BaseHook

from airflow_restore_replay.core.cluster import Cluster
from airflow_restore_replay.core.errors import ConfigInvalid, RestoreReplayError
from airflow_restore_replay.core.key_sources import parse_key, read_keys
from airflow_restore_replay.core.sections import RepositorySpec

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_restore_replay.core.repository.repository import Repository

REPOSITORY_CONN_TYPE = "restore_replay_repository"

#: Extra fields of an Amazon connection → names in a repository's credentials.
_AMAZON_EXTRA = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "endpoint_url": "endpoint",
    "region_name": "region",
    "role_arn": "role_arn",
    "external_id": "external_id",
}
#: What an Amazon connection may pass to STS → names in a repository's credentials.
_ASSUME_ROLE = {
    "ExternalId": "external_id",
    "RoleSessionName": "role_session_name",
    "DurationSeconds": "role_duration",
}
#: What only the Amazon provider, on the worker, can resolve; a node could not refresh it.
_AMAZON_ONLY = ("profile_name", "session_kwargs", "config_kwargs", "s3_config_file")
#: Extra fields of a repository connection; they have the same names in a repository's credentials.
_REPOSITORY_EXTRA = (
    "session_token",
    "endpoint",
    "region",
    "ca_file",
    "role_arn",
    "external_id",
    "sts_endpoint",
)
_KEY_FIELD = "encryption_key"


class RepositoryHook(BaseHook):
    """Opens the repository of one cluster.

    :param cluster: its ``repository.connection`` names a connection of the type ``restore_replay_repository``, or
        one of the Amazon provider, whose login, password and extra are the credentials, a role that they assume
        included. Without it they are found in the environment. The Amazon provider need not be installed.
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
        """:returns: the repository with the URL of its connection, where the cluster file has none.
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
        """:returns: the store's configuration from the connection; empty when there is none.
        :raises ConfigInvalid: the connection relies on what only the Amazon provider can resolve.
        """
        conn = self._connection
        if conn is None:
            return {}
        found = connection_credentials(conn)
        # What the cluster file says about the store itself counts more than the connection's extra.
        given = self.cluster.repository.options.given()
        return {key: value for key, value in found.items() if key not in given}

    def keys(self) -> tuple[str, ...]:
        """:returns: the repository's encryption keys, the active one first; masked in logs. None are given where
            neither the cluster file nor the repository's own connection has any.
        :raises ConfigInvalid: a source is not there, or holds no key. :raises KeySourceFailed: a command failed.
        """
        encryption = self.cluster.repository.encryption
        if encryption is not None:
            keys = read_keys(encryption, connection=lambda conn_id: _key_of(self.get_connection(conn_id)))
        else:
            keys = connection_keys(self._connection) if self._connection else ()
        _mask(*keys)
        return keys

    def open(self, *, write: bool = False) -> Repository:
        """:param write: create the repository when there is none, and check that the store is safe to write to."""
        from airflow_restore_replay.core.repository.repository import Repository

        return Repository.open(
            self.resolved,
            cluster=self.cluster.name,
            credentials=self.credentials(),
            keys=self.keys(),
            write=write,
            compression_level=self.cluster.transfer.compression_level,
        )

    def test_connection(self) -> tuple[bool, str]:
        """:returns: whether the repository is readable, and what it holds."""
        try:
            catalog = self.open().catalog()
        except RestoreReplayError as exc:
            return False, str(exc)
        return True, f"{len(catalog.backups)} backups, {len(catalog.healthy())} of them healthy and proven."


def connection_credentials(conn: Connection) -> dict[str, str]:
    """:returns: a repository's credentials from a repository's or an Amazon connection; secrets are masked in logs.
    :raises ConfigInvalid: the connection relies on what only the Amazon provider can resolve.
    """
    extra: dict[str, Any] = conn.extra_dejson
    if conn.conn_type == REPOSITORY_CONN_TYPE:
        found = {name: str(extra[name]) for name in _REPOSITORY_EXTRA if extra.get(name)}
    else:
        found = _from_amazon(conn.conn_id, extra)
    if conn.login:
        found["access_key_id"] = conn.login
    if conn.password:
        found["secret_access_key"] = conn.password
    _mask(found.get("secret_access_key"), found.get("session_token"), found.get("external_id"))
    return found


def _from_amazon(conn_id: str, extra: dict[str, Any]) -> dict[str, str]:
    """:returns: what an Amazon connection's extra says, by the provider's own rules of which counts more."""
    method = extra.get("assume_role_method") or "assume_role"
    only = [name for name in _AMAZON_ONLY if extra.get(name)]
    if extra.get("verify") is False:
        only.append("verify: false")
    if extra.get("role_arn") and method != "assume_role":
        only.append(f"assume_role_method: {method}")
    if only:
        raise ConfigInvalid(
            f"Connection {conn_id!r} uses {', '.join(only)}, which a replay node cannot.",
            hint="Give keys, or keys and role_arn; or give workers and nodes the role (instance profile, container "
            "role, web identity) and leave repository.connection out. For a CA use options.ca_file.",
        )
    found = {ours: str(extra[theirs]) for theirs, ours in _AMAZON_EXTRA.items() if extra.get(theirs)}
    if isinstance(extra.get("verify"), str):
        found["ca_file"] = extra["verify"]
    services = extra.get("service_config") or {}
    for service, ours in (("s3", "endpoint"), ("sts", "sts_endpoint")):
        if endpoint := (services.get(service) or {}).get("endpoint_url"):
            found[ours] = str(endpoint)
    for theirs, ours in _ASSUME_ROLE.items():
        if value := (extra.get("assume_role_kwargs") or {}).get(theirs):
            found[ours] = str(value)
    return found


def connection_keys(conn: Connection) -> tuple[str, ...]:
    """:returns: the encryption key that a repository connection holds, if it does; masked in logs.
    :raises ConfigInvalid: what it holds is no key.
    """
    held = conn.conn_type == REPOSITORY_CONN_TYPE and conn.extra_dejson.get(_KEY_FIELD)
    return (parse_key(_key_of(conn), f"connection {conn.conn_id}"),) if held else ()


def _key_of(conn: Connection) -> str:
    """:returns: the text that should be a key: a repository connection's own field, another one's password."""
    own = conn.conn_type == REPOSITORY_CONN_TYPE
    text = str((conn.extra_dejson.get(_KEY_FIELD) if own else conn.password) or "")
    _mask(text)
    return text


def _mask(*secrets: str | None) -> None:
    from airflow.sdk.log import mask_secret

    for secret in filter(None, secrets):
        mask_secret(secret)
