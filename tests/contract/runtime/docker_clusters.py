"""Clusters whose nodes live in a Docker kit's engine, for what only Docker has."""

from __future__ import annotations

from typing import Any

from airflow_restore_replay.core.config.cluster import Cluster, parse_clusters
from airflow_restore_replay.core.jobs.protocol import NodeHandle, RunRef
from airflow_restore_replay.core.runtime.base import Runtime
from airflow_restore_replay.core.runtime.nodes import create_node
from airflow_restore_replay.core.runtime.opening import get_runtime
from tests.contract.runtime.kits import DockerKit

RUN = RunRef(run="a_dag/a_run", attempt="replay", lease_epoch=1)
PASSWORD = "told-to-nobody"


def cluster(kit: DockerKit, name: str = "orders", **node: Any) -> Cluster:
    section = {"primary": {}, **kit.section()}
    section["node"] = {**section["node"], **node}
    return parse_clusters({"clusters": {name: section}})[name]


def create(kit: DockerKit, *, release: str = "", **node: Any) -> tuple[Runtime, NodeHandle]:
    chosen = cluster(kit, **node)
    runtime = get_runtime(chosen)
    return runtime, create_node(runtime, chosen, RUN, key="task", release=release)
