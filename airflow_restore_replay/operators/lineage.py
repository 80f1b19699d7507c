"""What a task read and wrote, for the OpenLineage provider, which asks each operator for it.

The provider is no dependency. Its method is called only where it is installed, and only then anything is imported.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow_restore_replay.core.config.cluster import Cluster

#: scheme of an object store → scheme of its namespace, by OpenLineage's naming
_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "az": "abfss", "azure": "abfss", "abfs": "abfss"}


def primary_dataset(cluster: Cluster) -> tuple[str, str]:
    """Return namespace and name of the primary's data; *cluster* has its connections filled in."""
    # OpenLineage names MariaDB as MySQL, whose protocol it speaks.
    return f"mysql://{cluster.primary.host}:{cluster.primary.port}", cluster.name


def backup_dataset(url: str) -> tuple[str, str]:
    """Return namespace and name of the repository at *url*; its backups are versions of one dataset."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    if parts.scheme == "file":
        return "file", str(PurePosixPath("/", path))
    return f"{_SCHEMES.get(parts.scheme, parts.scheme)}://{parts.netloc}", path or "/"


class Lineage:
    """What a task read and wrote, gathered while it ran.

    :param cluster: with the values of its connections filled in.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._inputs: list[tuple[tuple[str, str], str]] = []
        self._outputs: list[tuple[tuple[str, str], str]] = []

    def read_primary(self) -> None:
        self._inputs.append((primary_dataset(self._cluster), ""))

    def read_backup(self, backup_id: str) -> None:
        self._inputs.append((backup_dataset(self._cluster.repository.url), backup_id))

    def write_backup(self, backup_id: str) -> None:
        self._outputs.append((backup_dataset(self._cluster.repository.url), backup_id))

    def facets(self) -> Any:
        """Return the provider's ``OperatorLineage``."""
        return import_module("airflow.providers.openlineage.extractors").OperatorLineage(
            inputs=[_dataset(*found) for found in self._inputs],
            outputs=[_dataset(*found) for found in self._outputs],
        )


def _dataset(named: tuple[str, str], version: str) -> Any:
    facets = {}
    if version:
        kinds = import_module("openlineage.client.facet_v2").dataset_version_dataset
        facets["version"] = kinds.DatasetVersionDatasetFacet(datasetVersion=version)
    dataset = import_module("openlineage.client.event_v2").Dataset
    return dataset(namespace=named[0], name=named[1], facets=facets)
