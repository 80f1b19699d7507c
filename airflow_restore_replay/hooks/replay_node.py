"""Hook for replay nodes and their jobs, with the primary's address and password from its Airflow connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from airflow.sdk import BaseHook

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.config.sections import primary_password
from airflow_restore_replay.core.decoding import convert, plain
from airflow_restore_replay.core.errors import PreflightFailed, RestoreReplayError
from airflow_restore_replay.core.jobs.protocol import (
    JobName,
    JobState,
    NodeHandle,
    RunNode,
    RunRef,
    Secrets,
    is_node_id,
)
from airflow_restore_replay.core.runtime.base import NodeAccess
from airflow_restore_replay.hooks.node_connection import node_access, resolve_node
from airflow_restore_replay.hooks.primary_connection import resolve_primary
from airflow_restore_replay.hooks.repository import RepositoryHook

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_restore_replay.core.runtime.base import Runtime
    from airflow_restore_replay.core.runtime.client import NodeClient
    from airflow_restore_replay.core.runtime.waiter import Waiter

H = TypeVar("H", bound=NodeHandle)


class ReplayNodeHook(BaseHook):
    """Hook that creates and destroys the replay nodes of one cluster and runs jobs on them.

    A node travels by XCom as a :class:`~airflow_restore_replay.core.jobs.protocol.RunNode`, in plain values.

    :param cluster: its ``primary.connection`` may name an Airflow connection of type ``mysql``, which then supplies
        host, port, login and password.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._configured = cluster

    @cached_property
    def _connection(self) -> Connection | None:
        conn_id = self._configured.primary.connection
        return self.get_connection(conn_id) if conn_id else None

    @cached_property
    def cluster(self) -> Cluster:
        """Return the cluster with the values of its connections filled in; it holds no secret."""
        found, node_conn_id = self._configured, self._configured.node.connection
        if self._connection is not None:
            primary = resolve_primary(found.primary, self._connection)
            found = msgspec.structs.replace(found, primary=primary)
        if node_conn_id:
            node = resolve_node(found.node, self.get_connection(node_conn_id))
            found = msgspec.structs.replace(found, node=node)
        if not found.repository.url:
            found = msgspec.structs.replace(found, repository=RepositoryHook(found).resolved)
        return found

    @cached_property
    def access(self) -> NodeAccess:
        """Return the credentials of the nodes' connection."""
        node_conn_id = self._configured.node.connection
        return node_access(self.get_connection(node_conn_id)) if node_conn_id else NodeAccess()

    @cached_property
    def runtime(self) -> Runtime:
        from airflow_restore_replay.core.runtime.opening import get_runtime

        return get_runtime(self.cluster, self.access)

    def secrets(self) -> Secrets:
        """Return the passwords and keys that a job needs, masked in logs."""
        from airflow.sdk.log import mask_secret

        conn = self._connection
        password = (conn.password or "") if conn is not None else primary_password(self._configured.primary)
        if password:
            mask_secret(password)
        return msgspec.structs.replace(self.repository_secrets(), primary_password=password)

    def repository_secrets(self) -> Secrets:
        """Return the credentials and keys of the repository, masked in logs."""
        repository = RepositoryHook(self._configured)
        return Secrets(store=repository.credentials(), keys=repository.keys())

    def create(
        self, run: RunRef, *, key: str, replaces: Sequence[str] = (), backup_id: str | None = None
    ) -> dict[str, Any]:
        """Create a node, or return the one made for the same *key*; first remove orphaned nodes of the cluster.

        :param replaces: keys of the nodes that the same task had before it was cleared; these are removed, too.
        :param backup_id: backup that the node will restore; the release of the node's server is chosen for it.
        :returns: the node, as plain values for XCom.
        """
        from airflow_restore_replay.core.runtime.images import release_needed
        from airflow_restore_replay.core.runtime.nodes import create_node

        base = RepositoryHook(self._configured).open().load_manifest(backup_id) if backup_id else None
        release = release_needed(self.cluster, base, self.secrets()) if self.cluster.node.image else ""
        handle = create_node(self.runtime, self.cluster, run, key=key, replaces=replaces, release=release)
        node: dict[str, Any] = plain(RunNode(**msgspec.structs.asdict(handle), run=run))
        return node

    def create_for_recovery(self, key: str, *, release: str, volume: str = "") -> dict[str, Any]:
        """Create the node of a restore or drill, or return the one made for the same *key*.

        :param release: that the server needs at least, by which an image is chosen.
        :param volume: a Docker volume that the restore goes to.
        :returns: the node, as plain values for XCom.
        """
        from airflow_restore_replay.core.runtime.recovery import recovery_request

        request = recovery_request(self.cluster, key, release=release, volume=volume)
        handle = self.runtime.create(request)
        node: dict[str, Any] = plain(RunNode(**msgspec.structs.asdict(handle), run=request.run))
        return node

    def end_recovery(self, node: dict[str, Any], key: str) -> None:
        """End the job of a restore and destroy its node; raises nothing about the node."""
        from airflow_restore_replay.core.runtime.recovery import end_recovery

        end_recovery(self.runtime, self._handle(node), key)

    def destroy(self, node: dict[str, Any]) -> None:
        """Stop everything that runs on the node and remove it; idempotent."""
        self.runtime.destroy(self._handle(node))

    def client(self, node: dict[str, Any]) -> NodeClient:
        from airflow_restore_replay.core.runtime.client import NodeClient

        return NodeClient(self.runtime, self._handle(node))

    def submit(self, node: dict[str, Any], *, job: JobName, key: str, params: dict[str, Any]) -> JobState:
        """Start the job with that *key*, attach to it if it is running, or return how it ended."""
        from airflow_restore_replay.core.runtime.nodes import job_request

        run = _travelled(node, RunNode).run
        # A restore does not connect to the primary, whose password may be gone with it.
        secrets = self.repository_secrets() if run.recovers else self.secrets()
        request = job_request(self.cluster, run, job, key=key, params=params, secrets=secrets)
        return self.client(node).submit(request)

    def status(self, node: dict[str, Any], key: str) -> JobState:
        return self.client(node).status(key)

    def cancel(self, node: dict[str, Any], key: str) -> JobState:
        """End the job; idempotent."""
        return self.client(node).cancel(key)

    def wait(
        self,
        node: dict[str, Any],
        key: str,
        *,
        on_progress: Callable[[str], None],
        at_most_s: float = float("inf"),
    ) -> JobState:
        """Wait in this process until the job has ended or *at_most_s* have passed.

        :param on_progress: called with a line at intervals.
        """
        return self._waiter(node, key, on_progress).wait(at_most_s)

    async def wait_async(
        self, node: dict[str, Any], key: str, *, on_progress: Callable[[str], None]
    ) -> JobState:
        """Wait in an event loop until the job has ended; otherwise as :meth:`wait`."""
        return await self._waiter(node, key, on_progress).wait_async()

    def _waiter(self, node: dict[str, Any], key: str, on_progress: Callable[[str], None]) -> Waiter:
        from airflow_restore_replay.core.runtime.waiter import ProgressLines, Waiter

        # The first query also makes the connection, which must not happen in an event loop.
        return Waiter(lambda: self.status(node, key), ProgressLines(on_progress))

    def _handle(self, node: dict[str, Any]) -> NodeHandle:
        """Return the handle of a node of this cluster.

        :raises PreflightFailed: XCom holds another cluster's node, or no node.
        """
        handle, cluster = _travelled(node, NodeHandle), self._configured.name
        if handle.cluster != cluster or not is_node_id(handle.node_id, cluster):
            raise PreflightFailed(
                f"{handle.node_id!r} of cluster {handle.cluster!r} is no replay node of cluster {cluster!r}.",
                hint="Clear the run from create_node.",
            )
        return handle

    def test_connection(self) -> tuple[bool, str]:
        """Test that the primary accepts the account, and that nodes can live where the cluster places them.

        :returns: whether both work, and what was found.
        """
        from airflow_restore_replay.core.flavor.endpoints import primary_endpoint
        from airflow_restore_replay.core.flavor.registry import get_flavor

        primary = primary_endpoint(self.cluster.primary, self.secrets().primary_password)
        try:
            with get_flavor(self.cluster.flavor).connect(primary) as conn:
                found = f"Server {conn.get_server_info()}."
        except RestoreReplayError as exc:
            return False, f"{primary.host}:{primary.port} does not accept {primary.user!r}: {exc}"
        try:
            return True, f"{found} {self.runtime.probe(self.cluster.node.bindir)}"
        except RestoreReplayError as exc:
            return False, f"{found} {exc}"


def _travelled(node: Any, kind: type[H]) -> H:
    """Return what XCom holds as a node.

    :raises PreflightFailed: it is none.
    """
    try:
        return convert(node, kind)
    except msgspec.ValidationError as exc:
        raise PreflightFailed(
            f"XCom holds no replay node: {exc}.", hint="Clear the run from create_node."
        ) from exc
