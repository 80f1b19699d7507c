"""Hooks of the provider's own connection types, which Airflow uses to test a connection from its form."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook

from airflow_restore_replay.core.config.sections import RepositorySpec
from airflow_restore_replay.core.errors import ConfigInvalid, RestoreReplayError
from airflow_restore_replay.hooks.node_connection import NODE_CONN_TYPE
from airflow_restore_replay.hooks.repository import connection_keys
from airflow_restore_replay.hooks.store_connections import REPOSITORY_CONN_TYPE, connection_credentials


class RepositoryConnectionHook(BaseHook):
    """Connection with URL and credentials of a repository; a cluster's ``repository.connection`` names it.

    :param restore_replay_repository_conn_id: the connection.
    """

    conn_name_attr = "restore_replay_repository_conn_id"
    default_conn_name = "restore_replay_repository_default"
    conn_type = REPOSITORY_CONN_TYPE
    hook_name = "Restore-replay repository"

    def __init__(self, restore_replay_repository_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = restore_replay_repository_conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Test the store and read the catalog.

        The test creates an object, expects the store to refuse to create it again, and reads it back. The catalog of
        an encrypted repository is read only if the connection has its key.

        :returns: whether all of that works, and what was found.
        """
        from airflow_restore_replay.core.repository.probe import probe_repository

        try:
            conn = self.get_connection(self.conn_id)
            url = conn.extra_dejson.get("url")
            if not url:
                raise ConfigInvalid(f"Connection {self.conn_id!r} has no URL, so there is nothing to test.")
            return True, probe_repository(
                RepositorySpec(url=str(url)),
                connection_credentials(conn, str(url)),
                keys=connection_keys(conn),
            )
        except RestoreReplayError as exc:
            return False, str(exc)


class ReplayNodeConnectionHook(BaseHook):
    """Connection with the place where replay nodes live; a cluster's ``node.connection`` names it.

    :param restore_replay_node_conn_id: the connection.
    """

    conn_name_attr = "restore_replay_node_conn_id"
    default_conn_name = "restore_replay_node_default"
    conn_type = NODE_CONN_TYPE
    hook_name = "Restore-replay node"

    def __init__(self, restore_replay_node_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = restore_replay_node_conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Write below the work directory on *this* host, and ask the server's programs for their release.

        :returns: whether both work; then host, releases and free space, else the error.
        """
        from airflow_restore_replay.core.agent.probe import probe_node

        try:
            extra = self.get_connection(self.conn_id).extra_dejson
            if not extra.get("workdir"):
                raise ConfigInvalid(f"Connection {self.conn_id!r} has no work directory.")
            return True, probe_node(str(extra["workdir"]), extra.get("bindir") or None)
        except RestoreReplayError as exc:
            return False, str(exc)
