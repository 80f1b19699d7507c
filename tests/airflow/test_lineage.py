"""What the OpenLineage provider, if it is installed, gets from the tasks of a cycle."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_restore_replay.operators import (
    PublishedOperator,
    RestoreBackupOperator,
    SeedNodeOperator,
    SnapshotOperator,
)
from airflow_restore_replay.operators.lineage import Lineage, backup_dataset
from airflow_restore_replay.sensors import BinlogCatchupSensor
from tests.airflow.support import Shipped, context_of


def extracted(task: Any) -> Any:
    """Return what the provider's own extractor makes of a finished task."""
    base = pytest.importorskip("airflow.providers.openlineage.extractors.base")
    return base.DefaultExtractor(task).extract_on_complete(None)


def datasets(found: list[Any]) -> list[tuple[str, str, str]]:
    return [
        (d.namespace, d.name, getattr((d.facets or {}).get("version"), "datasetVersion", "")) for d in found
    ]


def test_a_published_backup_is_made_of_the_primary(cycle: Shipped) -> None:
    (backup,) = cycle.rig.catalog().backups
    task = PublishedOperator(task_id="published", cluster=cycle.rig.cluster())
    context = context_of(task)
    context["ti"].dag_id, _, context["ti"].run_id = backup.manifest.run.partition("/")
    task.execute(context)
    found = extracted(task)
    assert datasets(found.inputs) == [(f"mysql://127.0.0.1:{cycle.rig.primary.port}", "orders", "")]
    assert datasets(found.outputs) == [("file", str(cycle.rig.repository_dir), backup.backup_id)]


@pytest.mark.parametrize(
    ("kind", "options", "inputs", "outputs"),
    [
        (SeedNodeOperator, {}, 1, 0),
        (BinlogCatchupSensor, {}, 1, 0),
        (RestoreBackupOperator, {"backup_id": "B"}, 1, 0),
        (SnapshotOperator, {}, 0, 1),
    ],
)
def test_each_job_names_what_it_read_or_wrote(
    cycle: Shipped, kind: Any, options: dict[str, str], inputs: int, outputs: int
) -> None:
    cluster = cycle.rig.cluster()
    task = kind(task_id="t", cluster=cluster, node={}, **options)
    assert task.get_openlineage_facets_on_complete(None) is None, "it did not get that far"
    task._lineage = task._lineage_of(Lineage(cluster), {"backup_id": "B"})
    found = extracted(task)
    assert (len(found.inputs), len(found.outputs)) == (inputs, outputs)


@pytest.mark.parametrize(
    ("url", "dataset"),
    [
        ("s3://bucket/backups/orders", ("s3://bucket", "backups/orders")),
        ("gs://bucket", ("gs://bucket", "/")),
        ("file:///srv/orders/", ("file", "/srv/orders")),
    ],
)
def test_names_follow_openlineages_rules(url: str, dataset: tuple[str, str]) -> None:
    assert backup_dataset(url) == dataset
