"""Examine the preconditions of a cycle on the host where its node would live, without running a cycle."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from airflow_restore_replay.core.config.cluster import Cluster
from airflow_restore_replay.core.flavor.endpoints import primary_endpoint
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Conn, ServerLayout
from airflow_restore_replay.core.jobs.preconditions import Site, examine_site, finding_of
from airflow_restore_replay.core.jobs.protocol import Secrets
from airflow_restore_replay.core.repository.repository import Repository


def examine_cluster(cluster: Cluster, secrets: Secrets) -> list[Finding]:
    """Examine what a cycle requires before it fills a node: the same list, with this host as the node.

    :returns: findings; the first is whether the primary accepts the connection.
    """
    flavor = get_flavor(cluster.flavor)
    endpoint = primary_endpoint(cluster.primary, secrets.primary_password)
    with contextlib.ExitStack() as stack:
        connected: list[Conn] = []

        def connect() -> str:
            connected.append(stack.enter_context(contextlib.closing(flavor.connect(endpoint))))
            return "it accepts the connection"

        first = finding_of("primary", "connection", connect, expected="it accepts the connection")
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doctor-")))
        site = Site(
            cluster=cluster,
            flavor=flavor,
            server=flavor.server(ServerLayout.for_asking(scratch, cluster.node.bindir)),
            repository=lambda: Repository.of_cluster(
                cluster, credentials=secrets.store, keys=secrets.keys, write=True
            ),
        )
        return [first, *examine_site(site, connected[0] if connected else None)]
