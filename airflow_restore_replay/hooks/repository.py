"""A cluster's repository, opened with the credentials of an Airflow connection or of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_restore_replay.core.cluster import Cluster
from airflow_restore_replay.core.errors import ConfigInvalid, RestoreReplayError

if TYPE_CHECKING:
    from airflow_restore_replay.core.repository.repository import Repository

#: Extra fields of an Amazon connection → obstore's configuration names.
_AMAZON_EXTRA = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "endpoint_url": "endpoint",
    "region_name": "region",
}


class RepositoryHook(BaseHook):
    """Opens the repository of one cluster.

    :param cluster: its ``repository.connection`` names a connection of the Amazon provider, whose login,
        password and extra (``aws_session_token``, ``endpoint_url``, ``region_name``) are the credentials.
        Without it obstore finds them in the environment. The Amazon provider need not be installed.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster

    def credentials(self) -> dict[str, str]:
        """:returns: the store's configuration from the connection; empty when there is none.
        :raises ConfigInvalid: the connection relies on what only the Amazon provider can resolve.
        """
        conn_id = self.cluster.repository.connection
        if not conn_id:
            return {}
        conn = self.get_connection(conn_id)
        extra: dict[str, Any] = conn.extra_dejson
        if extra.get("role_arn"):
            raise ConfigInvalid(
                f"Connection {conn_id!r} assumes a role, which the repository cannot do.",
                hint="Give the worker the role, and leave repository.connection out.",
            )
        found = {ours: str(extra[theirs]) for theirs, ours in _AMAZON_EXTRA.items() if extra.get(theirs)}
        if conn.login:
            found["access_key_id"] = conn.login
        if conn.password:
            found["secret_access_key"] = conn.password
        _mask(found.get("secret_access_key"), found.get("session_token"))
        # What the cluster file says about the store itself counts more than the connection's extra.
        return {key: value for key, value in found.items() if key not in self.cluster.repository.options}

    def open(self, *, write: bool = False) -> Repository:
        """:param write: create the repository when there is none, and check that the store is safe to write to."""
        from airflow_restore_replay.core.repository.repository import Repository

        return Repository.open(
            self.cluster.repository,
            cluster=self.cluster.name,
            credentials=self.credentials(),
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


def _mask(*secrets: str | None) -> None:
    from airflow.sdk.log import mask_secret

    for secret in filter(None, secrets):
        mask_secret(secret)
